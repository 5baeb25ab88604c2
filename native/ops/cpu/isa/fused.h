// Row loops of the fused kernels: layer normalisation, gelu, cross-entropy, accumulation.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // int32_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

MERAK_ISA_DECLARE(
  // One row of length n.
  void layer_norm_row(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean, float* rstd,
                      size_t n);
  void layer_norm_row_bf16(const float* x, const float* gamma, const float* beta, float epsilon, uint16_t* y, float* mean,
                           float* rstd, size_t n);
  // dx of one row, plus `residual` unless that is null (it may be dx itself), and dgamma, dbeta of it added to the sums.
  void layer_norm_grad_row(const float* dy, const float* x, const float* gamma, float mean, float rstd, const float* residual,
                           float* dx, float* dgamma, float* dbeta, size_t n);
  void gelu_tanh(const float* x, float* y, size_t n);
  void gelu_erf(const float* x, float* y, size_t n);
  void gelu_tanh_grad(const float* dy, const float* x, float* dx, size_t n);
  void gelu_erf_grad(const float* dy, const float* x, float* dx, size_t n);
  void gelu_tanh_bf16(const float* x, uint16_t* y, size_t n);
  void gelu_erf_bf16(const float* x, uint16_t* y, size_t n);
  void gelu_tanh_grad_bf16(const float* dy, const float* x, uint16_t* dx, size_t n);
  void gelu_erf_grad_bf16(const float* dy, const float* x, uint16_t* dx, size_t n);
  float row_max(const float* x, size_t n);
  // Sum of exp(x - shift).
  float row_sum_exp(const float* x, float shift, size_t n);
  float natural_log(float x);
  // y = exp(x - shift) * scale.
  void row_exp_scaled(const float* x, float shift, float scale, float* y, size_t n);
  // y += x.
  void add_to(const float* x, float* y, size_t n);)
