// Vectorised element-wise loops of two arguments. `step_a`, `step_b` are 1, or 0 for an argument that is one number throughout.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

// elu_grad: a dy, b y. prelu: a x, b alpha.
#define MERAK_BINARY_OPS(X) X(add) X(sub) X(mul) X(div) X(maximum) X(minimum) X(squared_difference) X(prelu) X(elu_grad)
#define MERAK_COMPARE_OPS(X) X(equal) X(not_equal) X(greater) X(greater_equal) X(less) X(less_equal)

#define MERAK_DECLARE_BINARY(op) \
  void binary_##op(const float* a, const float* b, float* y, size_t n, int step_a, int step_b);
#define MERAK_DECLARE_COMPARE(op) \
  void compare_##op(const float* a, const float* b, uint8_t* y, size_t n, int step_a, int step_b);
MERAK_ISA_DECLARE(MERAK_BINARY_OPS(MERAK_DECLARE_BINARY) MERAK_COMPARE_OPS(MERAK_DECLARE_COMPARE))
#undef MERAK_DECLARE_BINARY
#undef MERAK_DECLARE_COMPARE
