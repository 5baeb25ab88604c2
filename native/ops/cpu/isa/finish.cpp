// The way of a product's sums to memory.
#include "ops/cpu/isa/finish.h"

#include <cstdint>  // uint16_t

#include "ops/cpu/isa/gelu.inl"      // gelu and its slope
#include "ops/cpu/isa/rounding.inl"  // store, number

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

template <class Number>
[[gnu::always_inline]] inline void put(const float* restrict x, Number* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) store(x[i], y + i);
}

template <class Number>
[[gnu::always_inline]] inline void times_slope(float* restrict x, const Number* restrict point, bool tanh, size_t n) {
  if (tanh)
    for (size_t i = 0; i < n; i++) x[i] *= gelu_tanh_slope(number(point[i]));
  else
    for (size_t i = 0; i < n; i++) x[i] *= gelu_erf_slope(number(point[i]));
}

template <class Number>
[[gnu::always_inline]] inline void activate(const float* restrict x, Number* restrict y, bool tanh, size_t n) {
  if (tanh)
    for (size_t i = 0; i < n; i++) store(gelu_tanh_at(x[i]), y + i);
  else
    for (size_t i = 0; i < n; i++) store(gelu_erf_at(x[i]), y + i);
}

// One row, step by step: a row of a block stays in the first-level cache.
[[gnu::always_inline]] inline void finish_row(const Finish& finish, float* x, size_t at, size_t column, size_t n) {
  if (finish.bias)
    for (size_t i = 0; i < n; i++) x[i] += finish.bias[column + i];
  if (finish.residual)
    for (size_t i = 0; i < n; i++) x[i] += finish.residual[at + i];
  const bool tanh = finish.gelu == Finish::Gelu::tanh;
  if (finish.point) {
    if (finish.narrow_point) times_slope(x, static_cast<const uint16_t*>(finish.point) + at, tanh, n);
    else times_slope(x, static_cast<const float*>(finish.point) + at, tanh, n);
  }
  if (finish.narrow_out) put(x, static_cast<uint16_t*>(finish.out) + at, n);
  else if (x != static_cast<float*>(finish.out) + at) put(x, static_cast<float*>(finish.out) + at, n);
  if (finish.activated) {
    // Of what was stored: the gradient takes its slope there.
    if (finish.narrow_out)
      for (size_t i = 0; i < n; i++) x[i] = number(static_cast<const uint16_t*>(finish.out)[at + i]);
    if (finish.narrow_activated) activate(x, static_cast<uint16_t*>(finish.activated) + at, tanh, n);
    else activate(x, static_cast<float*>(finish.activated) + at, tanh, n);
  }
}

}  // namespace

void finish_block(const Finish& finish, float* sums, size_t ld, size_t row, size_t column, size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; r++) {
    const size_t at = (row + r) * finish.stride + column;
    if (columns == 32) finish_row(finish, sums + r * ld, at, column, 32);
    else finish_row(finish, sums + r * ld, at, column, columns);
  }
}

}  // namespace merak::MERAK_ISA
