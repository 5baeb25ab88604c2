// Max and average pooling in two and three dims with their gradients on CUDA.
#include "ops/cuda/window.h"

namespace merak {
namespace {

using namespace cuda;

struct Pool {
  MerakWindow window;
  int64_t count;  // of elements, a thread each

  Pool(const NodeSpec& spec, const TensorType& in, const TensorType& out, const TensorType& made) : count(made.numel()) {
    window = device_window(window_of(spec, in.shape, out.shape, pool_filter(spec, in.shape.size() - 2)), in.shape.back());
  }
  unsigned blocks() const { return blocks_for(count, 256); }
};

CUfunction entry(Device& device, const char* name, DType from = DType::f32, DType to = DType::f32, bool last = false) {
  return device.function("pool", name, {define("X", from), define("Y", to), define("LAST", last)});
}

std::unique_ptr<Kernel> make_max_pool(const NodeSpec& spec, Device& device) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(x.dtype == y.dtype || (x.dtype == DType::i32 && y.dtype == DType::f32), "input and output dtypes differ");
  require(x.dtype == DType::f32 || x.dtype == DType::i32 || x.dtype == DType::b8, "the input must be float32, int32 or bool");
  const Pool pool(spec, x, y, y);
  const CUfunction function = entry(device, "max_pool", x.dtype, y.dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {pool.blocks()}, {256}, 0, stream_of(context), {&in[0], &out[0], &pool.window, &pool.count});
  });
}

std::unique_ptr<Kernel> make_max_pool_with_place(const NodeSpec& spec, Device& device) {
  const TensorType& x = spec.inputs.at(0);
  require(x.dtype == DType::f32 && x.shape.size() == 4, "the input must be float32 [batch, height, width, channels]");
  require(spec.outputs.size() == 2 && spec.outputs[1].dtype == DType::i32, "the outputs must be values and int32 positions");
  const Pool pool(spec, x, spec.outputs[0], spec.outputs[0]);
  const int in_batch = spec.attrs.flag("includeBatchInIndex", false);
  const CUfunction function = entry(device, "max_pool_with_place");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {pool.blocks()}, {256}, 0, stream_of(context), {&in[0], &out[0], &out[1], &pool.window, &in_batch, &pool.count});
  });
}

std::unique_ptr<Kernel> make_average_pool(const NodeSpec& spec, Device& device) {
  require(spec.inputs.at(0).dtype == DType::f32, "the input must be float32");
  const Pool pool(spec, spec.inputs[0], spec.outputs.at(0), spec.outputs[0]);
  const float least = spec.kernel == "AvgPool3D" ? 1.0f : 0.0f;
  const CUfunction function = entry(device, "average_pool");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {pool.blocks()}, {256}, 0, stream_of(context), {&in[0], &out[0], &pool.window, &least, &pool.count});
  });
}

std::unique_ptr<Kernel> make_max_pool_grad(const NodeSpec& spec, Device& device) {
  const size_t dy = input_index(spec, "dy"), x = input_index(spec, "input");
  require(spec.inputs[x].dtype == DType::f32, "the input must be float32");
  const Pool pool(spec, spec.inputs[x], spec.inputs[dy], spec.outputs.at(0));
  const int64_t windows = spec.inputs[dy].numel();
  const CUfunction winner = entry(device, "max_pool_winner", DType::f32, DType::f32, spec.kernel == "MaxPool3DGrad"), gradient = entry(device, "max_pool_grad");
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        device.launch(winner, {blocks_for(windows, 256)}, {256}, 0, stream, {&in[x], &context.scratch, &pool.window, &windows});
        device.launch(gradient, {pool.blocks()}, {256}, 0, stream, {&in[dy], &context.scratch, &out[0], &pool.window, &pool.count});
      },
      static_cast<size_t>(windows) * sizeof(int));
}

std::unique_ptr<Kernel> make_average_pool_grad(const NodeSpec& spec, Device& device) {
  const size_t dy = input_index(spec, "dy"), x = input_index(spec, "input");
  require(spec.inputs[dy].dtype == DType::f32, "dy must be float32");
  const Pool pool(spec, spec.inputs[x], spec.inputs[dy], spec.outputs.at(0));
  const int* filter = pool.window.filter;
  const float share = 1.0f / static_cast<float>(filter[0] * filter[1] * filter[2]);
  const CUfunction function = entry(device, "average_pool_grad");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {pool.blocks()}, {256}, 0, stream_of(context), {&in[dy], &out[0], &pool.window, &share, &pool.count});
  });
}

}  // namespace

void register_cuda_pools() {
  for (const char* name : {"MaxPool", "MaxPool3D"}) register_cuda_kernel(name, make_max_pool);
  register_cuda_kernel("MaxPoolWithArgmax", make_max_pool_with_place);
  for (const char* name : {"AvgPool", "AvgPool3D"}) register_cuda_kernel(name, make_average_pool);
  for (const char* name : {"MaxPoolGrad", "MaxPool3DGrad"}) register_cuda_kernel(name, make_max_pool_grad);
  for (const char* name : {"AvgPoolGrad", "AvgPool3DGrad"}) register_cuda_kernel(name, make_average_pool_grad);
}

}  // namespace merak
