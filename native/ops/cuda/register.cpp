// The table of CUDA kernels by name, and the list of families: one line here per register function.
#include "ops/cuda/register.h"

#include <map>    // the table
#include <mutex>  // std::call_once

namespace merak {
namespace {

std::map<std::string, CudaKernelFactory>& table() {
  static std::map<std::string, CudaKernelFactory> factories;
  return factories;
}

void fill_once() {
  static std::once_flag filled;
  std::call_once(filled, [] {});
}

}  // namespace

void register_cuda_kernel(const std::string& name, CudaKernelFactory factory) { table()[name] = factory; }

CudaKernelFactory find_cuda_kernel(const std::string& name) {
  fill_once();
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string> cuda_kernel_names() {
  fill_once();
  std::vector<std::string> names;
  for (const auto& [name, factory] : table()) names.push_back(name);
  return names;
}

}  // namespace merak
