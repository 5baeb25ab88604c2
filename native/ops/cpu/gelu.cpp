// MerakGelu and MerakGeluGrad.
#include "ops/cpu/isa/fused.h"    // the loops
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

bool is_tanh(const NodeSpec& spec) {
  const std::string approximate = spec.attrs.text("approximate", "");
  require(approximate == "tanh" || approximate == "none", "approximate must be 'tanh' or 'none'");
  return approximate == "tanh";
}

std::unique_ptr<Kernel> make_gelu(const NodeSpec& spec) {
  require(spec.inputs[0].dtype == DType::f32, "x must be float32");
  const auto span = is_tanh(spec) ? MERAK_PICK(gelu_tanh) : MERAK_PICK(gelu_erf);
  const int64_t n = spec.inputs[0].numel();
  if (spec.outputs[0].dtype == DType::bf16) {
    const auto narrow = is_tanh(spec) ? MERAK_PICK(gelu_tanh_bf16) : MERAK_PICK(gelu_erf_bf16);
    return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
      const auto* x = static_cast<const float*>(inputs[0]);
      auto* y = static_cast<uint16_t*>(outputs[0]);
      parallel_for(n, kParallelGrain / 2, [&](int64_t begin, int64_t end) { narrow(x + begin, y + begin, static_cast<size_t>(end - begin)); });
    });
  }
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* x = static_cast<const float*>(inputs[0]);
    auto* y = static_cast<float*>(outputs[0]);
    parallel_for(n, kParallelGrain / 2, [&](int64_t begin, int64_t end) { span(x + begin, y + begin, static_cast<size_t>(end - begin)); });
  });
}

std::unique_ptr<Kernel> make_gelu_grad(const NodeSpec& spec) {
  const size_t idy = input_index(spec, "dy"), ix = input_index(spec, "x");
  require(spec.inputs[ix].dtype == DType::f32 && spec.inputs[idy].dtype == DType::f32, "dy and x must be float32");
  const auto span = is_tanh(spec) ? MERAK_PICK(gelu_tanh_grad) : MERAK_PICK(gelu_erf_grad);
  const int64_t n = spec.inputs[ix].numel();
  if (spec.outputs[0].dtype == DType::bf16) {
    const auto narrow = is_tanh(spec) ? MERAK_PICK(gelu_tanh_grad_bf16) : MERAK_PICK(gelu_erf_grad_bf16);
    return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
      const auto *dy = static_cast<const float*>(inputs[idy]), *x = static_cast<const float*>(inputs[ix]);
      auto* dx = static_cast<uint16_t*>(outputs[0]);
      parallel_for(n, kParallelGrain / 2, [&](int64_t begin, int64_t end) {
        narrow(dy + begin, x + begin, dx + begin, static_cast<size_t>(end - begin));
      });
    });
  }
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto *dy = static_cast<const float*>(inputs[idy]), *x = static_cast<const float*>(inputs[ix]);
    auto* dx = static_cast<float*>(outputs[0]);
    parallel_for(n, kParallelGrain / 2, [&](int64_t begin, int64_t end) {
      span(dy + begin, x + begin, dx + begin, static_cast<size_t>(end - begin));
    });
  });
}

}  // namespace

void register_gelu_kernels() {
  register_kernel("MerakGelu", make_gelu);
  register_kernel("MerakGeluGrad", make_gelu_grad);
}

}  // namespace merak
