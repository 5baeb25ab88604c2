// The loops of isa/unary.h.
#include "ops/cpu/isa/unary.h"

#include <cmath>  // sin, cos of large arguments

#include "ops/cpu/isa/math.inl"  // exp_, log_, ...

namespace merak::MERAK_ISA {
namespace {

inline float op_abs(float x, float, float) { return abs_(x); }
inline float op_neg(float x, float, float) { return -x; }
inline float op_exp(float x, float, float) { return exp_(x); }
inline float op_expm1(float x, float, float) { return expm1_(x); }
inline float op_log(float x, float, float) { return log_(x); }
inline float op_log1p(float x, float, float) { return log1p_(x); }
inline float op_tanh(float x, float, float) { return tanh_(x); }
inline float op_sigmoid(float x, float, float) { return sigmoid_(x); }
inline float op_erf(float x, float, float) { return erf_(x); }
inline float op_sqrt(float x, float, float) { return __builtin_sqrtf(x); }
inline float op_rsqrt(float x, float, float) { return 1.0f / __builtin_sqrtf(x); }
inline float op_square(float x, float, float) { return x * x; }
inline float op_reciprocal(float x, float, float) { return 1.0f / x; }
// Comparisons are written so that NaN falls through to x, as in JavaScript's Math.max.
inline float op_relu(float x, float, float) { return x <= 0.0f ? 0.0f : x; }
inline float op_relu6(float x, float, float) {
  const float low = x <= 0.0f ? 0.0f : x;
  return low > 6.0f ? 6.0f : low;
}
inline float op_elu(float x, float, float) {
  const float e = expm1_(x);
  return x >= 0.0f ? x : e;
}
inline float op_selu(float x, float, float) {
  const float e = 1.7580993408473768599402175208123f * expm1_(x);
  return x >= 0.0f ? 1.0507009873554804934193349852946f * x : e;
}
inline float op_leaky_relu(float x, float p, float) { return x < 0.0f ? p * x : x; }
// max(x, 0) + ln(1 + e), e = exp(-|x|) in [0, 1]: none of log1p_'s special cases can arise.
inline float op_softplus(float x, float, float) {
  const float e = exp_(-abs_(x));
  const float u = 1.0f + e;
  const float y = (x <= 0.0f ? 0.0f : x) + log_core_(u, (e - (u - 1.0f)) / u);
  return x == x ? y : x;
}
inline float op_softsign(float x, float, float) { return x / (1.0f + abs_(x)); }
inline float op_sign(float x, float, float) { return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f); }
inline float op_step(float x, float p, float) {
  const float y = x > 0.0f ? 1.0f : p;
  return x == x ? y : x;
}
inline float op_clip(float x, float p, float q) {
  const float low = x < p ? p : x;
  return x > q ? q : low;
}
inline float op_floor(float x, float, float) { return __builtin_floorf(x); }
inline float op_ceil(float x, float, float) { return __builtin_ceilf(x); }
inline float op_round(float x, float, float) { return __builtin_rintf(x); }
inline float op_affine(float x, float p, float q) { return fma_(x, p, q); }

// Large or non-finite arguments are rare: a block that holds one goes through libm in double.
template <float (*Fast)(float), double (*Exact)(double)>
void periodic(const float* __restrict x, float* __restrict y, size_t n) {
  constexpr size_t kBlock = 256;
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t count = n - begin < kBlock ? n - begin : kBlock;
    int outside = 0;
    for (size_t i = 0; i < count; i++) outside |= abs_(x[begin + i]) <= kSinCosLimit ? 0 : 1;
    if (outside) {
      for (size_t i = 0; i < count; i++) y[begin + i] = static_cast<float>(Exact(static_cast<double>(x[begin + i])));
    } else {
      for (size_t i = 0; i < count; i++) y[begin + i] = Fast(x[begin + i]);
    }
  }
}

double exact_sin(double x) { return __builtin_sin(x); }
double exact_cos(double x) { return __builtin_cos(x); }

}  // namespace

#define MERAK_LOOP(op)                                                                        \
  void unary_##op(const float* __restrict x, float* __restrict y, size_t n, float p, float q) { \
    for (size_t i = 0; i < n; i++) y[i] = op_##op(x[i], p, q);                                \
  }
MERAK_LOOP(abs) MERAK_LOOP(neg) MERAK_LOOP(exp) MERAK_LOOP(expm1) MERAK_LOOP(log) MERAK_LOOP(log1p) MERAK_LOOP(tanh)
MERAK_LOOP(sigmoid) MERAK_LOOP(erf) MERAK_LOOP(sqrt) MERAK_LOOP(rsqrt) MERAK_LOOP(square) MERAK_LOOP(reciprocal)
MERAK_LOOP(relu) MERAK_LOOP(relu6) MERAK_LOOP(elu) MERAK_LOOP(selu) MERAK_LOOP(leaky_relu) MERAK_LOOP(softplus)
MERAK_LOOP(softsign) MERAK_LOOP(sign) MERAK_LOOP(step) MERAK_LOOP(clip) MERAK_LOOP(floor) MERAK_LOOP(ceil)
MERAK_LOOP(round) MERAK_LOOP(affine)
#undef MERAK_LOOP

void unary_sin(const float* x, float* y, size_t n, float, float) { periodic<sin_, exact_sin>(x, y, n); }
void unary_cos(const float* x, float* y, size_t n, float, float) { periodic<cos_, exact_cos>(x, y, n); }

}  // namespace merak::MERAK_ISA
