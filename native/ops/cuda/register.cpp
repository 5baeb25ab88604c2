// The table of CUDA kernels by name, and the list of families: one line here per register function.
#include "ops/cuda/register.h"

#include <map>    // the table
#include <mutex>  // std::call_once

namespace merak {

void register_cuda_products();
void register_cuda_attention();
void register_cuda_layer_norm();
void register_cuda_gelu();
void register_cuda_cross_entropy();
void register_cuda_embedding();
void register_cuda_random();
void register_cuda_loss_scale();
void register_cuda_column_sum();
void register_cuda_copies();
void register_cuda_collectives();
void register_cuda_elementwise();
void register_cuda_reductions();
void register_cuda_convolutions();
void register_cuda_pools();
void register_cuda_gather_scatter();
void register_cuda_scans();
void register_cuda_generators();
void register_cuda_resizes();
void register_cuda_einsum();
void register_cuda_resampling();
void register_cuda_dilations();
void register_cuda_response_norms();
void register_cuda_counts();

namespace {

void register_all() {
  register_cuda_products();
  register_cuda_attention();
  register_cuda_layer_norm();
  register_cuda_gelu();
  register_cuda_cross_entropy();
  register_cuda_embedding();
  register_cuda_random();
  register_cuda_loss_scale();
  register_cuda_column_sum();
  register_cuda_copies();
  register_cuda_collectives();
  register_cuda_elementwise();
  register_cuda_reductions();
  register_cuda_convolutions();
  register_cuda_pools();
  register_cuda_gather_scatter();
  register_cuda_scans();
  register_cuda_generators();
  register_cuda_resizes();
  register_cuda_einsum();
  register_cuda_resampling();
  register_cuda_dilations();
  register_cuda_response_norms();
  register_cuda_counts();
}

std::map<std::string, CudaKernelFactory>& table() {
  static std::map<std::string, CudaKernelFactory> factories;
  return factories;
}

void fill_once() {
  static std::once_flag filled;
  std::call_once(filled, register_all);
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
