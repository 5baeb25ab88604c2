// MerakGelu and MerakGeluGrad on CUDA.
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

bool is_tanh(const NodeSpec& spec) {
  const std::string approximate = spec.attrs.text("approximate", "");
  require(approximate == "tanh" || approximate == "none", "approximate must be 'tanh' or 'none'");
  return approximate == "tanh";
}

std::unique_ptr<Kernel> make_gelu(const NodeSpec& spec, Device& device) {
  require(is_float(spec.inputs[0].dtype) && is_float(spec.outputs[0].dtype), "x and y must be float");
  const CUfunction function = device.function("gelu", "gelu", {define("TANH", is_tanh(spec)), define("X", spec.inputs[0].dtype),
                                                               define("DY", DType::f32), define("Y", spec.outputs[0].dtype)});
  const int64_t n = spec.inputs[0].numel();
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(n, 1024)}, {256}, 0, stream_of(context), {&in[0], &out[0], &n});
  });
}

std::unique_ptr<Kernel> make_gelu_grad(const NodeSpec& spec, Device& device) {
  const size_t dy = input_index(spec, "dy"), x = input_index(spec, "x");
  require(is_float(spec.inputs[x].dtype) && is_float(spec.inputs[dy].dtype) && is_float(spec.outputs[0].dtype), "dy, x and dx must be float");
  const CUfunction function = device.function("gelu", "gelu_grad", {define("TANH", is_tanh(spec)), define("X", spec.inputs[x].dtype),
                                                                    define("DY", spec.inputs[dy].dtype), define("Y", spec.outputs[0].dtype)});
  const int64_t n = spec.inputs[x].numel();
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(n, 1024)}, {256}, 0, stream_of(context), {&in[dy], &in[x], &out[0], &n});
  });
}

}  // namespace

void register_cuda_gelu() {
  register_cuda_kernel("MerakGelu", make_gelu);
  register_cuda_kernel("MerakGeluGrad", make_gelu_grad);
}

}  // namespace merak
