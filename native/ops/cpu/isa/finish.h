// What becomes of the sums of a matrix product on their way to memory: bias, residual, gelu or its gradient, rounding.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

// Matrices are row-major, `stride` elements from row to row. In this order: + bias, + residual, times gelu's slope at `point`.
struct Finish {
  enum class Gelu { none, tanh, erf };
  size_t stride = 0;
  const float* bias = nullptr;      // one row
  const float* residual = nullptr;  // may be `out`
  const void* point = nullptr;      // where to take the slope of `gelu`; without it `gelu` makes `activated`
  bool narrow_point = false;        // bfloat16
  Gelu gelu = Gelu::none;
  void* out = nullptr;
  bool narrow_out = false;
  void* activated = nullptr;  // gelu of what `out` holds
  bool narrow_activated = false;
};

// The same for rows from `row` on.
Finish from_row(const Finish& finish, size_t row);

}  // namespace merak

MERAK_ISA_DECLARE(
  // Rows [row, row + rows) and columns [column, column + columns) of the result; their sums lie in `sums`, rows `ld` apart.
  void finish_block(const Finish& finish, const float* sums, size_t ld, size_t row, size_t column, size_t rows, size_t columns);)
