// Row loops of the fused kernels.
#include "ops/cpu/isa/fused.h"

#include "ops/cpu/isa/gelu.inl"      // gelu_tanh_at, gelu_erf_at
#include "ops/cpu/isa/math.inl"      // exp_, log_
#include "ops/cpu/isa/rounding.inl"  // store

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

template <class Result>
inline void layer_norm(const float* restrict x, const float* restrict gamma, const float* restrict beta, float epsilon,
                       Result* restrict y, float* mean, float* rstd, size_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i];
  const float mu = sum / static_cast<float>(n);
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < n; i++) squares += (x[i] - mu) * (x[i] - mu);
  const float scale = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + epsilon);
  for (size_t i = 0; i < n; i++) store((x[i] - mu) * scale * gamma[i] + beta[i], y + i);
  *mean = mu;
  *rstd = scale;
}

}  // namespace

void layer_norm_row(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* rstd,
                    size_t n) {
  layer_norm(x, gamma, beta, epsilon, y, mean, rstd, n);
}

void layer_norm_row_bf16(const float* x, const float* gamma, const float* beta, float epsilon, uint16_t* y, float* mean,
                         float* rstd, size_t n) {
  layer_norm(x, gamma, beta, epsilon, y, mean, rstd, n);
}

void layer_norm_grad_row(const float* restrict dy, const float* restrict x, const float* restrict gamma, float mean, float rstd,
                         const float* residual, float* dx, float* restrict dgamma, float* restrict dbeta, size_t n) {
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
  if (residual)
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] = residual[i] + rstd * (dy[i] * gamma[i] - sum - (x[i] - mean) * rstd * product);
  else
#pragma omp simd
    for (size_t i = 0; i < n; i++) dx[i] = rstd * (dy[i] * gamma[i] - sum - (x[i] - mean) * rstd * product);
}

// To float32 and to bfloat16.
#define MERAK_GELU(name, value, slope)                                                                          \
  void name(const float* restrict x, float* restrict y, size_t n) {                                             \
    for (size_t i = 0; i < n; i++) y[i] = value(x[i]);                                                          \
  }                                                                                                             \
  void name##_bf16(const float* restrict x, uint16_t* restrict y, size_t n) {                                   \
    for (size_t i = 0; i < n; i++) store(value(x[i]), y + i);                                                   \
  }                                                                                                             \
  void name##_grad(const float* restrict dy, const float* restrict x, float* restrict dx, size_t n) {           \
    for (size_t i = 0; i < n; i++) dx[i] = dy[i] * slope(x[i]);                                                 \
  }                                                                                                             \
  void name##_grad_bf16(const float* restrict dy, const float* restrict x, uint16_t* restrict dx, size_t n) {   \
    for (size_t i = 0; i < n; i++) store(dy[i] * slope(x[i]), dx + i);                                          \
  }
MERAK_GELU(gelu_tanh, gelu_tanh_at, gelu_tanh_slope)
MERAK_GELU(gelu_erf, gelu_erf_at, gelu_erf_slope)
#undef MERAK_GELU

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
