// What a BatchMatMul multiplies: logical shapes and strides, batch dims dropped where that is exact.
#pragma once
#include "engine/kernel.h"  // NodeSpec, Shape

namespace merak {

struct MatMulPlan {
  Shape a_shape, a_strides, b_shape, b_strides, c_shape;  // logical [..., M, K] x [..., K, N] = [..., M, N]
};

// Throws Unsupported for operands of one dim, std::runtime_error for shapes that do not multiply.
MatMulPlan plan_matmul(const NodeSpec& spec);

}  // namespace merak
