// BatchMatMul of int32 matrices: products and sums modulo 2^32.
#include "ops/cpu/integer_matmul.h"

#include <cstring>  // memset

#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {

std::unique_ptr<Kernel> make_integer_matmul(const NodeSpec& spec) {
  const TensorType &a = spec.inputs.at(0), &b = spec.inputs.at(1), &c = spec.outputs.at(0);
  require(b.dtype == DType::i32 && c.dtype == DType::i32, "both operands and the result must be int32");
  require(spec.kernel == "BatchMatMul" && !spec.attrs.flag("accumulate", false), "int32 products have no bias and no accumulation");
  require(a.shape.size() >= 2 && b.shape.size() >= 2 && c.shape.size() >= 2, "operands must have at least two dims");
  const bool transpose_a = spec.attrs.flag("transposeA", false), transpose_b = spec.attrs.flag("transposeB", false);
  const int64_t rows = c.shape[c.shape.size() - 2], columns = c.shape.back();
  const int64_t inner = a.shape[a.shape.size() - (transpose_a ? 2 : 1)];
  const int64_t a_row = transpose_a ? 1 : inner, a_step = transpose_a ? rows : 1;
  const int64_t b_step = transpose_b ? 1 : columns, b_column = transpose_b ? inner : 1;
  // Batch strides in matrices.
  const auto leading = [](const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); };
  const Shape batch = leading(c.shape);
  const Shape a_strides = broadcast_strides(leading(a.shape), batch), b_strides = broadcast_strides(leading(b.shape), batch);
  const int64_t num_matrices = numel(batch);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, static_cast<size_t>(num_matrices * rows * columns) * sizeof(int32_t));
    parallel_for(num_matrices * rows, kParallelGrain / std::max<int64_t>(1, inner * columns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        int64_t rest = row / rows, a_matrix = 0, b_matrix = 0;
        for (size_t d = batch.size(); d-- > 0;) {
          a_matrix += rest % batch[d] * a_strides[d];
          b_matrix += rest % batch[d] * b_strides[d];
          rest /= batch[d];
        }
        // Unsigned, so that overflow wraps.
        const uint32_t* x = static_cast<const uint32_t*>(in[0]) + a_matrix * rows * inner + row % rows * a_row;
        const uint32_t* y = static_cast<const uint32_t*>(in[1]) + b_matrix * inner * columns;
        uint32_t* z = static_cast<uint32_t*>(out[0]) + row * columns;
        for (int64_t k = 0; k < inner; k++)
          for (int64_t j = 0; j < columns; j++) z[j] += x[k * a_step] * y[k * b_step + j * b_column];
      }
    });
  });
}

}  // namespace merak
