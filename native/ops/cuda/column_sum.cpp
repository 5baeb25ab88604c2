// ColumnSum and MerakColumnSum on CUDA. The latter also takes `accumulate` (engine only): output += sum.
#include "ops/cuda/column_sum.h"

#include <algorithm>  // clamp

namespace merak {

namespace cuda {

ColumnSum::ColumnSum(Device& device, DType dtype, int64_t num_rows, int64_t width)
    : device_(&device), num_rows_(num_rows), width_(width), vector_(vector_of(width)) {
  // Enough blocks to fill the card, none of fewer than 64 rows.
  const int64_t across = std::max<int64_t>(1, (width + 32 * vector_ - 1) / (32 * vector_));
  const int64_t wanted = std::clamp<int64_t>(512 / across, 1, 128);
  piece_ = std::max<int64_t>(64, (num_rows + wanted - 1) / wanted);
  num_pieces_ = std::max<int64_t>(1, (num_rows + piece_ - 1) / piece_);
  rows_ = device.function("column_sum", "column_sum", {define("X", dtype), define("VECTOR", vector_)});
  parts_ = device.function("column_sum", "column_sum", {define("X", DType::f32), define("VECTOR", vector_)});
}

void ColumnSum::run(const void* x, float* sums, bool accumulate, void* scratch, CUstream stream) const {
  const int width = static_cast<int>(width_), adds = accumulate, alone = num_pieces_ == 1 && accumulate;
  const unsigned across = blocks_for(width_, 32 * vector_);
  void* parts = num_pieces_ == 1 ? sums : scratch;
  device_->launch(rows_, {across, static_cast<unsigned>(num_pieces_)}, {256}, 0, stream, {&x, &parts, &num_rows_, &width, &piece_, &alone});
  if (num_pieces_ > 1) device_->launch(parts_, {across}, {256}, 0, stream, {&parts, &sums, &num_pieces_, &width, &num_pieces_, &adds});
}

}  // namespace cuda

namespace {

using namespace cuda;

std::unique_ptr<Kernel> make_column_sum(const NodeSpec& spec, Device& device) {
  const TensorType& x = spec.inputs.at(0);
  require(is_float(x.dtype), "x must be float32 or bfloat16");
  require(!x.shape.empty() && spec.outputs.at(0).numel() == x.shape.back(), "the output must have as many elements as x has columns");
  const bool accumulate = spec.attrs.flag("accumulate", false);
  const int64_t width = x.shape.back();
  const ColumnSum sum(device, x.dtype, width == 0 ? 0 : x.numel() / width, width);
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    sum.run(in[0], static_cast<float*>(out[0]), accumulate, context.scratch, stream_of(context));
  }, sum.scratch_bytes());
}

}  // namespace

void register_cuda_column_sum() { register_cuda_kernel("MerakColumnSum", make_column_sum); }

}  // namespace merak
