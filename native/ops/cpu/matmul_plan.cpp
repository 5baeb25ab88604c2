// Reading a BatchMatMul's shapes.
#include "ops/cpu/matmul_plan.h"

#include <algorithm>  // std::swap

#include "ops/cpu/dnnl.h"  // row_major

namespace merak {
namespace {

void swap_last(Shape& shape) { std::swap(shape[shape.size() - 1], shape[shape.size() - 2]); }

// Logical shape and strides of an operand, transposed if asked, with leading ones up to `rank`.
void operand(const Shape& stored, bool transpose, size_t rank, Shape& shape, Shape& strides) {
  shape = Shape(rank - stored.size(), 1);
  shape.insert(shape.end(), stored.begin(), stored.end());
  strides = onednn::row_major(shape);
  if (transpose) {
    swap_last(shape);
    swap_last(strides);
  }
}

// Drops the batch dims where that is exact: one weight matrix for all of a's rows makes one tall product, and equal batch dims
// become one.
MatMulPlan collapse(MatMulPlan plan, bool transpose_a) {
  const size_t rank = plan.a_shape.size();
  const int64_t m = plan.a_shape[rank - 2], k = plan.a_shape[rank - 1], n = plan.b_shape[rank - 1];
  int64_t a_batch = 1, b_batch = 1;
  bool same = true;
  for (size_t i = 0; i + 2 < rank; i++) {
    a_batch *= plan.a_shape[i];
    b_batch *= plan.b_shape[i];
    same = same && plan.a_shape[i] == plan.b_shape[i];
  }
  const Shape b_tail(plan.b_strides.end() - 2, plan.b_strides.end());
  const Shape a_tail(plan.a_strides.end() - 2, plan.a_strides.end());
  if (b_batch == 1 && (!transpose_a || a_batch == 1)) {
    const Shape a_strides = a_batch == 1 ? a_tail : Shape{k, 1};
    return {{a_batch * m, k}, a_strides, {k, n}, b_tail, {a_batch * m, n}};
  }
  if (same)
    return {{a_batch, m, k}, {m * k, a_tail[0], a_tail[1]}, {a_batch, k, n}, {k * n, b_tail[0], b_tail[1]}, {a_batch, m, n}};
  return plan;
}

}  // namespace

MatMulPlan plan_matmul(const NodeSpec& spec) {
  const Shape& a = spec.inputs[0].shape;
  const Shape& b = spec.inputs[1].shape;
  if (a.size() < 2 || b.size() < 2) throw Unsupported("operands must have at least two dims");
  const bool transpose_a = spec.attrs.flag("transposeA", false), transpose_b = spec.attrs.flag("transposeB", false);
  const size_t rank = std::max(a.size(), b.size());
  MatMulPlan plan;
  operand(a, transpose_a, rank, plan.a_shape, plan.a_strides);
  operand(b, transpose_b, rank, plan.b_shape, plan.b_strides);
  if (plan.a_shape[rank - 1] != plan.b_shape[rank - 2]) throw std::runtime_error("inner dims differ");
  for (size_t i = 0; i + 2 < rank; i++) {
    const int64_t x = plan.a_shape[i], y = plan.b_shape[i];
    if (x != y && x != 1 && y != 1) throw std::runtime_error("batch dims do not broadcast");
    plan.c_shape.push_back(x == 1 ? y : x);
  }
  plan.c_shape.push_back(plan.a_shape[rank - 2]);
  plan.c_shape.push_back(plan.b_shape[rank - 1]);
  return collapse(std::move(plan), transpose_a);
}

}  // namespace merak
