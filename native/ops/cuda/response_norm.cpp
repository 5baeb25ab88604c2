// LRN and its gradient on CUDA.
#include <algorithm>  // min

#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in response_norm.cu.
struct Response {
  int channels, radius;
  float bias, alpha, beta;
};

Response response_of(const NodeSpec& spec, const TensorType& x) {
  require(x.dtype == DType::f32 && !x.shape.empty() && x.shape.back() < (1 << 30), "the input must be float32 with channels");
  const auto narrow = [&](const char* name, double fallback) { return static_cast<float>(spec.attrs.number(name, fallback)); };
  const int64_t radius = std::min(spec.attrs.integer("depthRadius", 5), x.shape.back());
  return {static_cast<int>(x.shape.back()), static_cast<int>(radius), narrow("bias", 1), narrow("alpha", 1), narrow("beta", 0.5)};
}

std::unique_ptr<Kernel> make_response_norm(const NodeSpec& spec, Device& device) {
  const Response response = response_of(spec, spec.inputs.at(0));
  const int64_t count = spec.inputs[0].numel();
  const int keeps_norm = 0;
  const CUfunction function = device.function("response_norm", "response_norm");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context), {&in[0], &out[0], &response, &keeps_norm, &count});
  });
}

std::unique_ptr<Kernel> make_response_norm_grad(const NodeSpec& spec, Device& device) {
  const size_t x = input_index(spec, "x"), y = input_index(spec, "y"), dy = input_index(spec, "dy");
  const Response response = response_of(spec, spec.inputs[x]);
  const int64_t count = spec.inputs[x].numel();
  const int keeps_norm = 1;
  const CUfunction norms = device.function("response_norm", "response_norm"), gradient = device.function("response_norm", "response_norm_grad");
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        device.launch(norms, {blocks_for(count, 256)}, {256}, 0, stream, {&in[x], &context.scratch, &response, &keeps_norm, &count});
        device.launch(gradient, {blocks_for(count, 256)}, {256}, 0, stream, {&in[x], &in[y], &in[dy], &context.scratch, &out[0], &response, &count});
      },
      static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

void register_cuda_response_norms() {
  register_cuda_kernel("LRN", make_response_norm);
  register_cuda_kernel("LRNGrad", make_response_norm_grad);
}

}  // namespace merak
