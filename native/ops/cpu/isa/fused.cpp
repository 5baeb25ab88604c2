// Row loops of the fused kernels.
#include "ops/cpu/isa/fused.h"

#include "ops/cpu/isa/math.inl"  // exp_, erf_

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

constexpr float kTwoSqrtTwoOverPi = 1.5957691216057308f;
constexpr float kCubic = 0.044715f;
constexpr float kSqrtHalf = 0.70710678118654752f;
constexpr float kInvSqrtTwoPi = 0.39894228040143268f;

}  // namespace

void layer_norm_row(const float* restrict x, const float* restrict gamma, const float* restrict beta, float epsilon,
                    float* restrict y, float* mean, float* rstd, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i];
  const float mu = sum / static_cast<float>(n);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < n; i++) squares += (x[i] - mu) * (x[i] - mu);
  const float scale = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + epsilon);
  for (size_t i = 0; i < n; i++) y[i] = (x[i] - mu) * scale * gamma[i] + beta[i];
  *mean = mu;
  *rstd = scale;
}

void layer_norm_grad_row(const float* restrict dy, const float* restrict x, const float* restrict gamma, float mean, float rstd,
                         float* restrict dx, float* restrict dgamma, float* restrict dbeta, size_t n) {
  float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (size_t i = 0; i < n; i++) {
    const float normal = (x[i] - mean) * rstd;
    const float g = dy[i] * gamma[i];
    sum += g;
    product += g * normal;
    dgamma[i] += dy[i] * normal;
    dbeta[i] += dy[i];
  }
  sum /= static_cast<float>(n);
  product /= static_cast<float>(n);
  for (size_t i = 0; i < n; i++) dx[i] = rstd * (dy[i] * gamma[i] - sum - (x[i] - mean) * rstd * product);
}

// 0.5 (1 + tanh u) is sigmoid(2u).
void gelu_tanh(const float* restrict x, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float u = kTwoSqrtTwoOverPi * x[i] * (1.0f + kCubic * x[i] * x[i]);
    y[i] = x[i] / (1.0f + exp_(-u));
  }
}

void gelu_tanh_grad(const float* restrict dy, const float* restrict x, float* restrict dx, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float square = x[i] * x[i];
    const float u = kTwoSqrtTwoOverPi * x[i] * (1.0f + kCubic * square);
    const float s = 1.0f / (1.0f + exp_(-u));
    const float slope = kTwoSqrtTwoOverPi * (1.0f + 3.0f * kCubic * square);
    dx[i] = dy[i] * (s + x[i] * s * (1.0f - s) * slope);
  }
}

void gelu_erf(const float* restrict x, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.0f + erf_(x[i] * kSqrtHalf));
}

void gelu_erf_grad(const float* restrict dy, const float* restrict x, float* restrict dx, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float phi = 0.5f * (1.0f + erf_(x[i] * kSqrtHalf));
    dx[i] = dy[i] * (phi + x[i] * kInvSqrtTwoPi * exp_(-0.5f * x[i] * x[i]));
  }
}

float row_max(const float* x, size_t n) {
  float highest = -kInfinity;
  int nan = 0;
#pragma omp simd reduction(max : highest) reduction(| : nan)
  for (size_t i = 0; i < n; i++) {
    highest = highest > x[i] ? highest : x[i];
    nan |= x[i] != x[i];
  }
  return nan ? kNaN : highest;
}

float row_sum_exp(const float* x, float shift, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += exp_(x[i] - shift);
  return sum;
}

float natural_log(float x) { return log_(x); }

void row_exp_scaled(const float* restrict x, float shift, float scale, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = exp_(x[i] - shift) * scale;
}

void add_to(const float* restrict x, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += x[i];
}

}  // namespace merak::MERAK_ISA
