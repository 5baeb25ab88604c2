// Dilation2D and its gradients on CUDA.
#include "ops/cuda/window.h"

namespace merak {
namespace {

using namespace cuda;

MerakWindow dilation_window(const NodeSpec& spec, const Shape& out) {
  const TensorType& x = spec.inputs[input_index(spec, "x")];
  const Shape& filter = spec.inputs[input_index(spec, "filter")].shape;
  require(x.dtype == DType::f32, "the input must be float32");
  require(filter.size() == 3, "the filter must be [height, width, channels]");
  return device_window(window_of(spec, x.shape, out, {filter[0], filter[1]}), x.shape.back());
}

std::unique_ptr<Kernel> make_dilation(const NodeSpec& spec, Device& device) {
  const size_t x = input_index(spec, "x"), filter = input_index(spec, "filter");
  const MerakWindow window = dilation_window(spec, spec.outputs.at(0).shape);
  const int64_t count = spec.outputs[0].numel();
  const CUfunction function = device.function("dilation", "dilation");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context), {&in[x], &in[filter], &out[0], &window, &count});
  });
}

std::unique_ptr<Kernel> make_dilation_grad(const NodeSpec& spec, Device& device) {
  const size_t x = input_index(spec, "x"), filter = input_index(spec, "filter"), dy = input_index(spec, "dy");
  const MerakWindow window = dilation_window(spec, spec.inputs[dy].shape);
  const bool of_input = spec.kernel == "Dilation2DBackpropInput";
  const int64_t windows = spec.inputs[dy].numel(), count = spec.outputs.at(0).numel();
  const int64_t pixels = window.channels == 0 ? 0 : windows / window.channels;
  const CUfunction winner = device.function("dilation", "dilation_winner"), gradient = device.function("dilation", of_input ? "dilation_input_grad" : "dilation_filter_grad");
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        device.launch(winner, {blocks_for(windows, 256)}, {256}, 0, stream, {&in[x], &in[filter], &context.scratch, &window, &windows});
        if (of_input) device.launch(gradient, {blocks_for(count, 256)}, {256}, 0, stream, {&in[dy], &context.scratch, &out[0], &window, &count});
        else device.launch(gradient, {static_cast<unsigned>(count)}, {256}, 0, stream, {&in[dy], &context.scratch, &out[0], &window.channels, &pixels});
      },
      static_cast<size_t>(windows) * sizeof(int));
}

}  // namespace

void register_cuda_dilations() {
  register_cuda_kernel("Dilation2D", make_dilation);
  register_cuda_kernel("Dilation2DBackpropInput", make_dilation_grad);
  register_cuda_kernel("Dilation2DBackpropFilter", make_dilation_grad);
}

}  // namespace merak
