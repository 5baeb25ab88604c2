// MerakLayerNorm and MerakLayerNormGrad.
#include <cstring>  // memset

#include "ops/cpu/isa/bf16.h"     // from_bf16
#include "ops/cpu/isa/fused.h"    // the row loops
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

struct Rows {
  int64_t num_rows, width;
  int64_t grain() const { return std::max<int64_t>(1, kParallelGrain / 2 / std::max<int64_t>(1, width)); }
};

Rows rows_of(const NodeSpec& spec, size_t input) {
  const TensorType& x = spec.inputs[input];
  require(x.dtype == DType::f32 && !x.shape.empty(), "x must be float32 with a last dim");
  const int64_t width = x.shape.back();
  return {width == 0 ? 0 : x.numel() / width, width};
}

std::unique_ptr<Kernel> make_layer_norm(const NodeSpec& spec) {
  const size_t ix = input_index(spec, "x"), ig = input_index(spec, "gamma"), ib = input_index(spec, "beta");
  const Rows rows = rows_of(spec, ix);
  require(spec.inputs[ig].numel() == rows.width && spec.inputs[ib].numel() == rows.width, "gamma and beta must be [H]");
  const float epsilon = static_cast<float>(spec.attrs.number("epsilon"));
  const auto row = MERAK_PICK(layer_norm_row);
  const auto narrow = MERAK_PICK(layer_norm_row_bf16);
  const bool rounds = spec.outputs[0].dtype == DType::bf16;
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto *x = static_cast<const float*>(inputs[ix]), *gamma = static_cast<const float*>(inputs[ig]),
               *beta = static_cast<const float*>(inputs[ib]);
    auto *y = static_cast<float*>(outputs[0]), *mean = static_cast<float*>(outputs[1]), *rstd = static_cast<float*>(outputs[2]);
    parallel_for(rows.num_rows, rows.grain(), [&](int64_t begin, int64_t end) {
      const auto width = static_cast<size_t>(rows.width);
      for (int64_t r = begin; rounds && r < end; r++)
        narrow(x + r * rows.width, gamma, beta, epsilon, static_cast<uint16_t*>(outputs[0]) + r * rows.width, mean + r, rstd + r, width);
      for (int64_t r = begin; !rounds && r < end; r++)
        row(x + r * rows.width, gamma, beta, epsilon, y + r * rows.width, mean + r, rstd + r, static_cast<size_t>(rows.width));
    });
  });
}

// Rows whose dgamma and dbeta are summed into one partial sum; the partial sums are then added in order, so that the result does
// not depend on the number of threads.
constexpr int64_t kMaxPieces = 32;

std::unique_ptr<Kernel> make_layer_norm_grad(const NodeSpec& spec) {
  const size_t idy = input_index(spec, "dy"), ix = input_index(spec, "x"), ig = input_index(spec, "gamma"),
               im = input_index(spec, "mean"), ir = input_index(spec, "rstd");
  const int residual = spec.input("residual");
  const Rows rows = rows_of(spec, ix);
  const DType dy_type = spec.inputs[idy].dtype;
  require(dy_type == DType::f32 || dy_type == DType::bf16, "dy must be float");
  require(residual < 0 || (spec.inputs[static_cast<size_t>(residual)].dtype == DType::f32 &&
                           spec.inputs[static_cast<size_t>(residual)].numel() == spec.inputs[ix].numel()),
          "residual must be float32, as large as x");
  const bool narrow = dy_type == DType::bf16;
  const int64_t piece = std::max<int64_t>(8, (rows.num_rows + kMaxPieces - 1) / kMaxPieces);
  const int64_t num_pieces = (rows.num_rows + piece - 1) / piece;
  const size_t width = static_cast<size_t>(rows.width);
  const size_t partial_size = (narrow ? 3 : 2) * width;  // the sums of a piece, and a row of dy widened
  const auto row = MERAK_PICK(layer_norm_grad_row);
  const auto add = MERAK_PICK(add_to);
  const auto widen = MERAK_PICK(from_bf16);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const auto *x = static_cast<const float*>(inputs[ix]), *gamma = static_cast<const float*>(inputs[ig]),
                   *mean = static_cast<const float*>(inputs[im]), *rstd = static_cast<const float*>(inputs[ir]);
        const auto* more = residual < 0 ? nullptr : static_cast<const float*>(inputs[residual]);
        auto *dx = static_cast<float*>(outputs[0]), *dgamma = static_cast<float*>(outputs[1]), *dbeta = static_cast<float*>(outputs[2]);
        auto* partial = static_cast<float*>(context.scratch);
#pragma omp parallel for schedule(static) if (num_pieces > 1)
        for (int64_t p = 0; p < num_pieces; p++) {
          float* sums = partial + static_cast<size_t>(p) * partial_size;
          float* widened = sums + 2 * width;
          std::memset(sums, 0, 2 * width * sizeof(float));
          for (int64_t r = p * piece; r < std::min(rows.num_rows, (p + 1) * piece); r++) {
            const int64_t at = r * rows.width;
            if (narrow) widen(static_cast<const uint16_t*>(inputs[idy]) + at, widened, width);
            const float* dy = narrow ? widened : static_cast<const float*>(inputs[idy]) + at;
            row(dy, x + at, gamma, mean[r], rstd[r], more ? more + at : nullptr, dx + at, sums, sums + width, width);
          }
        }
        std::memset(dgamma, 0, width * sizeof(float));
        std::memset(dbeta, 0, width * sizeof(float));
        for (int64_t p = 0; p < num_pieces; p++) {
          const float* sums = partial + static_cast<size_t>(p) * partial_size;
          add(sums, dgamma, width);
          add(sums + width, dbeta, width);
        }
      },
      static_cast<size_t>(num_pieces) * partial_size * sizeof(float));
}

}  // namespace

void register_layernorm_kernels() {
  register_kernel("MerakLayerNorm", make_layer_norm);
  register_kernel("MerakLayerNormGrad", make_layer_norm_grad);
}

}  // namespace merak
