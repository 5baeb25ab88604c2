// MerakColumnSum: the sum over all dims but the last. Also takes `accumulate` (engine only): output += sum.
#include <cstring>  // memset

#include "ops/cpu/isa/bf16.h"     // add_column_sums
#include "ops/cpu/isa/fused.h"    // add_to
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

// Rows whose sum is made apart; the parts are then added in order, so that the result does not depend on the number of threads.
constexpr int64_t kMaxPieces = 16;

std::unique_ptr<Kernel> make_column_sum(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  require(x.dtype == DType::f32 || x.dtype == DType::bf16, "x must be float32 or bfloat16");
  require(!x.shape.empty() && spec.outputs.at(0).numel() == x.shape.back(), "the output must have as many elements as x has columns");
  const bool accumulate = spec.attrs.flag("accumulate", false);
  const int64_t width = x.shape.back(), num_rows = width == 0 ? 0 : x.numel() / width;
  const int64_t piece = std::max<int64_t>(64, (num_rows + kMaxPieces - 1) / kMaxPieces);
  const int64_t num_pieces = (num_rows + piece - 1) / piece;
  const size_t n = static_cast<size_t>(width);
  const Matrix matrix{nullptr, x.dtype == DType::f32, static_cast<size_t>(num_rows), n, n};
  const auto add_sums = MERAK_PICK(add_column_sums);
  const auto add = MERAK_PICK(add_to);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        auto* partial = static_cast<float*>(context.scratch);
        auto* sums = static_cast<float*>(outputs[0]);
        Matrix rows = matrix;
        rows.data = inputs[0];
        parallel_for(num_pieces, 1, [&](int64_t begin, int64_t end) {
          for (int64_t p = begin; p < end; p++) {
            std::memset(partial + static_cast<size_t>(p) * n, 0, n * sizeof(float));
            add_sums(rows, static_cast<size_t>(p * piece), static_cast<size_t>(std::min(num_rows, (p + 1) * piece)),
                     partial + static_cast<size_t>(p) * n);
          }
        });
        if (!accumulate) std::memset(sums, 0, n * sizeof(float));
        for (int64_t p = 0; p < num_pieces; p++) add(partial + static_cast<size_t>(p) * n, sums, n);
      },
      static_cast<size_t>(num_pieces) * n * sizeof(float));
}

}  // namespace

void register_column_sum_kernels() { register_kernel("MerakColumnSum", make_column_sum); }

}  // namespace merak
