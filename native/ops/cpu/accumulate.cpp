// MerakAccumulate (output += input) and MerakAssign (output := input).
#include <cstring>  // memcpy

#include "ops/cpu/isa/fused.h"    // add_to
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

std::unique_ptr<Kernel> make_accumulate(const NodeSpec& spec) {
  require(spec.inputs[0].dtype == DType::f32 && spec.outputs[0].dtype == DType::f32, "only float32 accumulates");
  require(spec.inputs[0].numel() == spec.outputs[0].numel(), "input and output differ in size");
  const int64_t n = spec.inputs[0].numel();
  const auto add = MERAK_PICK(add_to);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* x = static_cast<const float*>(inputs[0]);
    auto* y = static_cast<float*>(outputs[0]);
    parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) { add(x + begin, y + begin, static_cast<size_t>(end - begin)); });
  });
}

std::unique_ptr<Kernel> make_assign(const NodeSpec& spec) {
  require(spec.inputs[0].bytes() == spec.outputs[0].bytes(), "input and output differ in size");
  const int64_t bytes = static_cast<int64_t>(spec.inputs[0].bytes());
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* x = static_cast<const uint8_t*>(inputs[0]);
    auto* y = static_cast<uint8_t*>(outputs[0]);
    parallel_for(bytes, kParallelGrain * 4, [&](int64_t begin, int64_t end) { std::memcpy(y + begin, x + begin, static_cast<size_t>(end - begin)); });
  });
}

}  // namespace

void register_accumulate_kernels() {
  register_kernel("MerakAccumulate", make_accumulate);
  register_kernel("MerakAssign", make_assign);
}

}  // namespace merak
