// gelu and its slope, by tanh (Hendrycks and Gimpel 2016, section 2) or by erf.
#pragma once
#include "numbers.cuh"

// 0.5 (1 + tanh u) is sigmoid(2 u).
__device__ inline float gate_of(float u) { return 1.0f / (1.0f + __expf(-u)); }

template <bool kTanh>
__device__ inline float gelu_at(float x) {
  if (kTanh) return x * gate_of(1.5957691216057308f * x * (1.0f + 0.044715f * x * x));
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

template <bool kTanh>
__device__ inline float gelu_slope(float x) {
  if (kTanh) {
    const float square = x * x;
    const float s = gate_of(1.5957691216057308f * x * (1.0f + 0.044715f * square));
    const float slope = 1.5957691216057308f * (1.0f + 3.0f * 0.044715f * square);
    return s + x * s * (1.0f - s) * slope;
  }
  const float phi = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
  return phi + x * 0.39894228040143268f * expf(-0.5f * x * x);
}
