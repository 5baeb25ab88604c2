// Vectorised element-wise loops of one argument: y[i] = op(x[i], p, q), with up to two parameters.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

// clip: p low, q high. step, leaky_relu: p alpha. affine: p x + q.
#define MERAK_UNARY_OPS(X)                                                                                             \
  X(abs) X(neg) X(exp) X(expm1) X(log) X(log1p) X(tanh) X(sigmoid) X(erf) X(sqrt) X(rsqrt) X(square) X(reciprocal)     \
  X(relu) X(relu6) X(elu) X(selu) X(leaky_relu) X(softplus) X(softsign) X(sign) X(step) X(clip) X(floor) X(ceil)       \
  X(round) X(sin) X(cos) X(affine)

#define MERAK_DECLARE_UNARY(op) void unary_##op(const float* x, float* y, size_t n, float p, float q);
MERAK_ISA_DECLARE(MERAK_UNARY_OPS(MERAK_DECLARE_UNARY))
#undef MERAK_DECLARE_UNARY
