// gelu and its slope at one number, for loops that compilers vectorise. Included by ops/cpu/isa/*.cpp only.
#pragma once
#include "ops/cpu/isa/math.inl"  // exp_, erf_

namespace merak::MERAK_ISA {

constexpr float kTwoSqrtTwoOverPi = 1.5957691216057308f;
constexpr float kCubic = 0.044715f;
constexpr float kSqrtHalf = 0.70710678118654752f;
constexpr float kInvSqrtTwoPi = 0.39894228040143268f;

// 1 / (1 + e^-u) for |u| below 80, its nearest end beyond; about 2 ulp. Newton's iteration from a guess by exponent is several times
// faster than the processor's division. NaN stays NaN.
[[gnu::always_inline]] static inline float gate(float u) {
  float t = u < -80.0f ? -80.0f : u;
  t = t > 80.0f ? 80.0f : t;
  const float y = 1.0f + exp_small_(-t);
  float r = float_(difference_(0x7ef311c3, bits_(y)));
  r = r * fma_(-y, r, 2.0f);
  r = r * fma_(-y, r, 2.0f);
  r = r * fma_(-y, r, 2.0f);
  return fma_(r, fma_(-y, r, 1.0f), r);
}

// 0.5 (1 + tanh u) is sigmoid(2u).
[[gnu::always_inline]] static inline float gelu_tanh_at(float x) {
  const float u = kTwoSqrtTwoOverPi * x * (1.0f + kCubic * x * x);
  return x * gate(u);
}

[[gnu::always_inline]] static inline float gelu_tanh_slope(float x) {
  const float square = x * x;
  const float u = kTwoSqrtTwoOverPi * x * (1.0f + kCubic * square);
  const float s = gate(u);
  const float slope = kTwoSqrtTwoOverPi * (1.0f + 3.0f * kCubic * square);
  return s + x * s * (1.0f - s) * slope;
}

[[gnu::always_inline]] static inline float gelu_erf_at(float x) { return 0.5f * x * (1.0f + erf_(x * kSqrtHalf)); }

[[gnu::always_inline]] static inline float gelu_erf_slope(float x) {
  const float phi = 0.5f * (1.0f + erf_(x * kSqrtHalf));
  return phi + x * kInvSqrtTwoPi * exp_(-0.5f * x * x);
}

}  // namespace merak::MERAK_ISA
