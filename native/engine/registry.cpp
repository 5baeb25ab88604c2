// The table of kernels by name.
#include "engine/registry.h"

#include <map>    // the table
#include <mutex>  // std::call_once

#include "ops/cpu/contract.h"  // check_contract
#include "ops/cpu/register.h"  // register_cpu_kernels

namespace merak {
namespace {

std::map<std::string, KernelFactory>& table() {
  static std::map<std::string, KernelFactory> factories;
  return factories;
}

void fill_once() {
  static std::once_flag filled;
  std::call_once(filled, register_cpu_kernels);
}

std::string describe(const TensorType& type) {
  static constexpr const char* kNames[] = {"float32[", "int32[", "bool[", "bfloat16[", "int8[", "float16["};
  std::string text = kNames[static_cast<size_t>(type.dtype)];
  for (size_t i = 0; i < type.shape.size(); i++) text += (i ? "," : "") + std::to_string(type.shape[i]);
  return text + "]";
}

bool uses_float16(const NodeSpec& spec) {
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list)
      if (type.dtype == DType::f16) return true;
  return spec.attrs.text("precision", "f32") == "f16";
}

}  // namespace

void register_kernel(const std::string& name, KernelFactory factory) { table()[name] = factory; }

KernelFactory find_kernel(const std::string& name) {
  fill_once();
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string> kernel_names() {
  fill_once();
  std::vector<std::string> names;
  for (const auto& [name, factory] : table()) names.push_back(name);
  return names;
}

std::string describe(const NodeSpec& spec) {
  std::string text = spec.kernel + "(";
  for (size_t i = 0; i < spec.inputs.size(); i++) {
    if (i) text += ", ";
    if (i < spec.input_names.size()) text += spec.input_names[i] + ": ";
    text += describe(spec.inputs[i]);
  }
  text += ")";
  if (!spec.scope.empty()) text += " in " + spec.scope;
  return text;
}

std::unique_ptr<Kernel> compile_kernel(const NodeSpec& spec) {
  const KernelFactory factory = find_kernel(spec.kernel);
  if (!factory) throw Unsupported("the native engine has no kernel " + describe(spec));
  try {
    check_contract(spec);
    if (uses_float16(spec)) throw Unsupported("float16 is computed on CUDA devices only");
    return factory(spec);
  } catch (const Unsupported& reason) {
    throw Unsupported(describe(spec) + ": " + reason.what());
  } catch (const std::exception& reason) {
    throw std::runtime_error(describe(spec) + ": " + reason.what());
  }
}

}  // namespace merak
