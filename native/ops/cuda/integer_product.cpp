// Products of int32 matrices on CUDA (integer_product.cu).
#include "ops/cuda/integer_product.h"

#include "ops/cpu/shape.h"  // broadcast_strides

namespace merak::cuda {

std::unique_ptr<Kernel> make_integer_product(const NodeSpec& spec, Device& device) {
  struct Batch {
    int rank;
    int64_t sizes[6], a[6], b[6];
  } batch{};
  require(spec.inputs.at(1).dtype == DType::i32 && spec.outputs.at(0).dtype == DType::i32, "both operands and the result must be int32");
  require(spec.kernel == "BatchMatMul" && !spec.attrs.flag("accumulate", false), "int32 products have no bias and no accumulation");
  const bool transpose_a = spec.attrs.flag("transposeA", false), transpose_b = spec.attrs.flag("transposeB", false);
  const Shape &a = spec.inputs[0].shape, &b = spec.inputs[1].shape, &c = spec.outputs[0].shape;
  require(a.size() >= 2 && b.size() >= 2 && c.size() >= 2 && c.size() <= 8, "operands must have two to eight dims");
  const auto leading = [](const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); };
  const Shape sizes = leading(c), by_a = broadcast_strides(leading(a), sizes), by_b = broadcast_strides(leading(b), sizes);
  batch.rank = static_cast<int>(sizes.size());
  for (size_t d = 0; d < sizes.size(); d++) {
    batch.sizes[d] = sizes[d];
    batch.a[d] = by_a[d];
    batch.b[d] = by_b[d];
  }
  const int m = static_cast<int>(c[c.size() - 2]), n = static_cast<int>(c.back()), k = static_cast<int>(a[a.size() - (transpose_a ? 2 : 1)]);
  const int64_t matrices = numel(sizes);
  require(matrices < 65536 && m < 65536 * 16, "too many matrices, or too many rows");
  const Dim3 grid{blocks_for(n, 16), blocks_for(m, 16), static_cast<unsigned>(matrices)};
  const CUfunction function = device.function("integer_product", "integer_product", {define("TRANSPOSE_A", transpose_a), define("TRANSPOSE_B", transpose_b)});
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, grid, {256}, 0, stream_of(context), {&in[0], &in[1], &out[0], &batch, &m, &n, &k});
  });
}

}  // namespace merak::cuda
