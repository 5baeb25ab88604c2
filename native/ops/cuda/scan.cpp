// ArgMax, ArgMin, Cumsum, Cumprod and TopK on CUDA.
#include "ops/cpu/shape.h"
#include "ops/cuda/device/chunk.cuh"
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// A tensor around one dim.
struct Around {
  int64_t rows, length, inner;

  explicit Around(const NodeSpec& spec) {
    const Shape& shape = spec.inputs.at(0).shape;
    const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), shape.size()));
    length = shape[axis];
    inner = product(shape, axis + 1, shape.size());
    rows = product(shape, 0, axis) * inner;
  }
};

CUfunction entry(Device& device, const char* name, DType from, DType to) {
  require(!is_half(from) && from != DType::i8, "the input must be float32, int32 or bool");
  return device.function("scan", name, {define("X", from), define("Y", to), define("WRAPS", to == DType::i32)});
}

std::unique_ptr<Kernel> make_arg_extreme(const NodeSpec& spec, Device& device) {
  const TensorType& x = spec.inputs.at(0);
  require(spec.outputs.at(0).dtype == DType::i32, "the result must be int32");
  const Around view(spec);
  const CUfunction function = entry(device, "arg_extreme", x.dtype, DType::i32);
  const int wants_max = spec.kernel == "ArgMax";
  const unsigned blocks = blocks_for(view.rows, view.inner == 1 ? 8 : 256);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks}, {256}, 0, stream_of(context), {&in[0], &out[0], &view.rows, &view.length, &view.inner, &wants_max});
  });
}

std::unique_ptr<Kernel> make_cumulative(const NodeSpec& spec, Device& device) {
  const DType from = spec.inputs.at(0).dtype, to = spec.outputs.at(0).dtype;
  const Around view(spec);
  const int exclusive = spec.attrs.flag("exclusive", false), reverse = spec.attrs.flag("reverse", false), multiplies = spec.kernel == "Cumprod";
  const bool shares = view.inner == 1 && to == DType::f32;
  const CUfunction function = entry(device, shares ? "cumulative_rows" : "cumulative", from, to);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const CUstream stream = stream_of(context);
    if (shares) device.launch(function, {blocks_for(view.rows, 8)}, {256}, 0, stream, {&in[0], &out[0], &view.rows, &view.length, &exclusive, &reverse, &multiplies});
    else device.launch(function, {blocks_for(view.rows, 256)}, {256}, 0, stream, {&in[0], &out[0], &view.rows, &view.length, &view.inner, &exclusive, &reverse, &multiplies});
  });
}

std::unique_ptr<Kernel> make_top_k(const NodeSpec& spec, Device& device) {
  const TensorType& x = spec.inputs.at(0);
  require(!x.shape.empty(), "the input must have a dim");
  const int64_t length = x.shape.back(), k = spec.attrs.integer("k", 1), rows = product(x.shape, 0, x.shape.size() - 1);
  require(k >= 0 && k <= length, "k exceeds the last dim");
  const int64_t chunks = (length + kChunk - 1) / kChunk, total = rows * chunks * kChunk;
  require(rows * chunks < (int64_t{1} << 31), "too many rows");
  const CUfunction sort = entry(device, "sort_rows", x.dtype, x.dtype), take = entry(device, "take_top", x.dtype, x.dtype);
  const int num_chunks = static_cast<int>(chunks);
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        if (k == 0) return;
        device.launch(sort, {static_cast<unsigned>(rows * chunks)}, {256}, 0, stream, {&in[0], &context.scratch, &length, &num_chunks});
        device.launch(take, {blocks_for(total, 256)}, {256}, 0, stream, {&in[0], &context.scratch, &out[0], &out[1], &length, &num_chunks, &k, &total});
      },
      static_cast<size_t>(total) * sizeof(uint64_t));
}

}  // namespace

void register_cuda_scans() {
  for (const char* name : {"ArgMax", "ArgMin"}) register_cuda_kernel(name, make_arg_extreme);
  for (const char* name : {"Cumsum", "Cumprod"}) register_cuda_kernel(name, make_cumulative);
  register_cuda_kernel("TopK", make_top_k);
}

}  // namespace merak
