// Loops of the int8 kernels: rounding to int8, sums of products where oneDNN has no exact ones, and what follows a product.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // int8_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {
// What a quantised product applies to its sums.
enum class Int8Activation { linear, relu, gelu_tanh, gelu_erf };
}  // namespace merak

MERAK_ISA_DECLARE(
  // y = clip(round(x * inverse), -127, 127), ties to even; NaN gives 0.
  void to_int8(const float* x, float inverse, int8_t* y, size_t n);
  // Bytes of b [inner,columns] as int8_product reads it: 16-bit numbers, two rows side by side, in panels of columns.
  size_t int8_packed_bytes(size_t inner, size_t columns);
  void int8_pack(const int8_t* b, size_t inner, size_t columns, int16_t* packed);
  // a [rows,inner] in 16 bits, rows of an even length: a zero ends odd ones.
  void int8_widen(const int8_t* a, size_t rows, size_t inner, int16_t* wide);
  // c [rows,columns] = a b of both so prepared; exact.
  void int8_product(const int16_t* wide, const int16_t* packed, int32_t* c, size_t rows, size_t inner, size_t columns);
  // One row: y = activation(sums * scales + bias); `bias` may be null.
  void int8_epilogue(const int32_t* sums, const float* scales, const float* bias, Int8Activation activation, float* y, size_t n);
  // The same, rounded to int8.
  void int8_epilogue_to_int8(const int32_t* sums, const float* scales, const float* bias, Int8Activation activation,
                             float inverse, int8_t* y, size_t n);)
