// Diag, MatrixBandPart, SparseToDense, BitwiseAnd, MaxPoolWithArgmax.
#include <cstring>  // memcpy, memset
#include <limits>   // infinity

#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_loop.h"
#include "ops/cpu/window.h"

namespace merak {
namespace {

std::unique_ptr<Kernel> make_diag(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const int64_t n = x.numel(), element = static_cast<int64_t>(size_of(x.dtype));
  require(n < (int64_t{1} << 31) && spec.outputs.at(0).numel() == n * n, "the output must be square");
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, static_cast<size_t>(n * n * element));
    for (int64_t i = 0; i < n; i++)
      std::memcpy(bytes_at(out[0], i * (n + 1) * element), bytes_at(in[0], i * element), static_cast<size_t>(element));
  });
}

// Matrices [..., rows, columns] with zeros below `numLower` subdiagonals and above `numUpper` superdiagonals; negative: all of them.
std::unique_ptr<Kernel> make_band_part(const NodeSpec& spec) {
  const size_t x_at = input_index(spec, "input"), lower_at = input_index(spec, "numLower"), upper_at = input_index(spec, "numUpper");
  const TensorType& x = spec.inputs[x_at];
  require(x.shape.size() >= 2, "the input must have two dims");
  require(spec.inputs[lower_at].numel() == 1 && spec.inputs[upper_at].numel() == 1, "numLower and numUpper must be scalars");
  const int64_t columns = x.shape.back(), rows = x.shape[x.shape.size() - 2], total = x.numel();
  const int64_t element = static_cast<int64_t>(size_of(x.dtype));
  const DType lower_type = spec.inputs[lower_at].dtype, upper_type = spec.inputs[upper_at].dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const double lower = load_number(lower_type, in[lower_at], 0), upper = load_number(upper_type, in[upper_at], 0);
    const int64_t below = lower < 0 ? rows : static_cast<int64_t>(lower), above = upper < 0 ? columns : static_cast<int64_t>(upper);
    std::memset(out[0], 0, static_cast<size_t>(total * element));
    for (int64_t row = 0; columns > 0 && row < total / columns; row++) {
      const int64_t at = row % rows, first = std::max<int64_t>(0, at - below), last = std::min(columns, at + above + 1);
      if (last <= first) continue;
      const int64_t begin = (row * columns + first) * element;
      std::memcpy(bytes_at(out[0], begin), bytes_at(in[x_at], begin), static_cast<size_t>((last - first) * element));
    }
  });
}

// A tensor full of the default value with values put at the places that rows of indices name; of duplicates the last stays.
std::unique_ptr<Kernel> make_sparse_to_dense(const NodeSpec& spec) {
  const size_t indices_at = input_index(spec, "sparseIndices"), values_at = input_index(spec, "sparseValues");
  const size_t default_at = input_index(spec, "defaultValue");
  const TensorType &indices = spec.inputs[indices_at], &values = spec.inputs[values_at], &y = spec.outputs.at(0);
  require(indices.dtype == DType::i32 && values.dtype == y.dtype && spec.inputs[default_at].dtype == y.dtype,
          "indices must be int32, and values and default of the result's dtype");
  require(spec.inputs[default_at].numel() == 1 && (!values.shape.empty() || values.numel() == 1), "the default must be one value");
  require(indices.shape.size() <= 2, "indices must have at most two dims");
  const int64_t depth = indices.shape.size() == 2 ? indices.shape[1] : 1;
  require(depth == static_cast<int64_t>(y.shape.size()), "indices must name single elements");
  const int64_t num_rows = depth == 0 ? 0 : indices.numel() / depth, total = y.numel();
  require(values.shape.empty() || values.numel() == num_rows, "there must be a value for each row of indices, or one for all");
  const bool one_for_all = values.shape.empty();
  const int64_t element = static_cast<int64_t>(size_of(y.dtype));
  const Shape shape = y.shape, strides = strides_of(y.shape);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* index = static_cast<const int32_t*>(in[indices_at]);
    for (int64_t i = 0; i < total; i++) std::memcpy(bytes_at(out[0], i * element), in[default_at], static_cast<size_t>(element));
    for (int64_t row = 0; row < num_rows; row++) {
      int64_t flat = 0;
      for (size_t d = 0; d < shape.size(); d++) {
        const int64_t at = index[row * depth + static_cast<int64_t>(d)];
        if (at < 0 || at >= shape[d])
          throw std::runtime_error("index " + std::to_string(at) + " is not in [0, " + std::to_string(shape[d]) + ")");
        flat += at * strides[d];
      }
      std::memcpy(bytes_at(out[0], flat * element), bytes_at(in[values_at], one_for_all ? 0 : row * element), static_cast<size_t>(element));
    }
  });
}

std::unique_ptr<Kernel> make_bitwise_and(const NodeSpec& spec) {
  const TensorType &a = spec.inputs.at(0), &b = spec.inputs.at(1), &y = spec.outputs.at(0);
  require(a.dtype == DType::i32 && b.dtype == DType::i32 && y.dtype == DType::i32, "operands must be int32");
  const StridedLoop<3> loop(y.shape, {broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape), strides_of(y.shape)});
  const bool empty = y.numel() == 0;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    if (empty) return;
    const int32_t *left = static_cast<const int32_t*>(in[0]), *right = static_cast<const int32_t*>(in[1]);
    const auto [by_a, by_b, by_y] = loop.row_stride;
    loop.for_rows(0, loop.num_rows, [&, by_a = by_a, by_b = by_b, by_y = by_y](const std::array<int64_t, 3>& at) {
      for (int64_t i = 0; i < loop.row_length; i++)
        static_cast<int32_t*>(out[0])[at[2] + i * by_y] = left[at[0] + i * by_a] & right[at[1] + i * by_b];
    });
  });
}

// The maximum of each window and its flat position in its image, or in the batch; the first of equals. NaN never wins: a window
// of NaN alone gives -infinity at -1, as tfjs.
std::unique_ptr<Kernel> make_max_pool_with_argmax(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  require(x.dtype == DType::f32 && x.shape.size() == 4, "the input must be float32 [batch, height, width, channels]");
  require(spec.outputs.size() == 2 && spec.outputs[1].dtype == DType::i32, "the outputs must be values and int32 positions");
  const Window w = window_of(spec, x.shape, spec.outputs[0].shape, pool_filter(spec, 2));
  const bool in_batch = spec.attrs.flag("includeBatchInIndex", false);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int64_t size = w.channels * w.filter[1] * w.filter[2];
    parallel_for(w.batch * w.out_pixels(), kParallelGrain / std::max<int64_t>(1, size), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t batch = i / w.out_pixels(), pixel_out = i % w.out_pixels();
        float* top = static_cast<float*>(out[0]) + i * w.channels;
        int32_t* place = static_cast<int32_t*>(out[1]) + i * w.channels;
        std::fill(top, top + w.channels, -std::numeric_limits<float>::infinity());
        std::fill(place, place + w.channels, -1);
        const float* image = static_cast<const float*>(in[0]) + batch * w.in_pixels() * w.channels;
        for_taps(w, 0, pixel_out / w.out[2], pixel_out % w.out[2], [&](int64_t, int64_t, int64_t, int64_t pixel) {
          for (int64_t c = 0; c < w.channels; c++) {
            const float value = image[pixel * w.channels + c];
            if (!(value > top[c])) continue;
            top[c] = value;
            place[c] = static_cast<int32_t>(((in_batch ? batch * w.in_pixels() : 0) + pixel) * w.channels + c);
          }
        });
      }
    });
  });
}

}  // namespace

void register_matrix_kernels() {
  register_kernel("Diag", make_diag);
  register_kernel("MatrixBandPart", make_band_part);
  register_kernel("SparseToDense", make_sparse_to_dense);
  register_kernel("BitwiseAnd", make_bitwise_and);
  register_kernel("MaxPoolWithArgmax", make_max_pool_with_argmax);
}

}  // namespace merak
