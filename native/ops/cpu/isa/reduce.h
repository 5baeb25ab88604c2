// Vectorised reductions of a contiguous run, accumulation of rows, and row softmax. The order of additions is fixed by the length.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

// reduce_*: of n >= 1 floats; max and min propagate NaN. accumulate_*: y[i] = op(y[i], x[i]).
// softmax_row: y = exp(x - max x) / sum; log_softmax_row: y = x - max x - ln sum.
// scale_shift: y = (x - mean) scale + offset, element by element.
MERAK_ISA_DECLARE(
  float reduce_sum(const float* x, size_t n);
  float reduce_prod(const float* x, size_t n);
  float reduce_max(const float* x, size_t n);
  float reduce_min(const float* x, size_t n);
  void accumulate_sum(const float* x, float* y, size_t n);
  void accumulate_prod(const float* x, float* y, size_t n);
  void accumulate_max(const float* x, float* y, size_t n);
  void accumulate_min(const float* x, float* y, size_t n);
  void softmax_row(const float* x, float* y, size_t n);
  void log_softmax_row(const float* x, float* y, size_t n);
  void scale_shift(const float* x, const float* mean, const float* scale, const float* offset, float* y, size_t n);
)
