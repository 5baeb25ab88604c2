// Bincount and DenseBincount on CUDA.
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

std::unique_ptr<Kernel> make_counts(const NodeSpec& spec, Device& device) {
  const size_t x_at = input_index(spec, "x"), weights_at = input_index(spec, "weights");
  const TensorType &x = spec.inputs[x_at], &weights = spec.inputs[weights_at], &y = spec.outputs.at(0);
  require(x.dtype == DType::i32, "x must be int32");
  require(weights.dtype == y.dtype && (y.dtype == DType::f32 || y.dtype == DType::i32), "weights and result must be float32 or int32, both");
  const bool is_dense = spec.kernel == "DenseBincount", by_row = is_dense && x.shape.size() == 2;
  const int64_t bins = spec.attrs.integer("size"), rows = by_row ? x.shape[0] : 1, length = by_row ? x.shape[1] : x.numel();
  require(weights.numel() == 0 || weights.numel() == x.numel(), "there must be a weight for each element, or none");
  require(y.numel() == rows * bins, "the output shape does not fit size");
  require(rows * ((bins + 255) / 256) < (int64_t{1} << 31) && bins < (int64_t{1} << 31), "too many bins");
  const int binary = is_dense && spec.attrs.flag("binaryOutput", false), has_weights = weights.numel() > 0;
  const int size = static_cast<int>(bins), blocks_a_row = static_cast<int>(blocks_for(bins, 256));
  const auto blocks = static_cast<unsigned>(rows * blocks_a_row);
  const CUfunction function = device.function("counts", "count_bins", {define("Y", y.dtype)});
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks}, {256}, 0, stream_of(context), {&in[x_at], &in[weights_at], &out[0], &length, &size, &blocks_a_row, &has_weights, &binary, &context.device_step});
  });
}

}  // namespace

void register_cuda_counts() {
  for (const char* name : {"Bincount", "DenseBincount"}) register_cuda_kernel(name, make_counts);
}

}  // namespace merak
