// Rounding to bfloat16 and laying matrices out for oneDNN's bf16 products.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // uint16_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

// A matrix of float32 (`wide`) or bfloat16: element (r, c) is `stride` * r + c elements from `data`.
struct Matrix {
  const void* data;
  bool wide;
  size_t rows, columns, stride;
};

// A packed right operand: strips of `columns` columns (a multiple of sixteen), in a strip tiles of kPackedRows rows one after the other,
// inside a tile pairs of rows interleaved. Past the edges zeros. oneDNN calls it BA16a64b2a when strips have 64 columns; with 32, two
// tiles of the tile unit lie side by side.
constexpr size_t kPackedRows = 32;
static inline size_t packed_strips(size_t columns, size_t strip) { return (columns + strip - 1) / strip; }
static inline size_t packed_strip_size(size_t rows, size_t strip) { return (rows + kPackedRows - 1) / kPackedRows * kPackedRows * strip; }

}  // namespace merak

MERAK_ISA_DECLARE(
  // Round to nearest, ties to even; NaN stays NaN.
  void to_bf16(const float* x, uint16_t* y, size_t n);
  void from_bf16(const uint16_t* x, float* y, size_t n);
  // The nearest bfloat16, as a float32.
  void round_to_bf16(const float* x, float* y, size_t n);
  // What rows [begin, end) of `b` bring to the packed form of `b` (b.rows is the inner dim), or of the transpose of `b` (b.columns is).
  // `begin` is a multiple of sixteen; whoever packs the last row also writes the zeros past it. `strip` is 32 or 64.
  void pack_rows(const Matrix& b, bool transposed, size_t strip, size_t begin, size_t end, uint16_t* packed);
  // Rows [begin, end) of the transpose of `a`, `stride` elements apart.
  void transpose_to_bf16(const Matrix& a, size_t begin, size_t end, uint16_t* y, size_t stride);
  // sums[c] += the sum of column c over rows [begin, end).
  void add_column_sums(const Matrix& x, size_t begin, size_t end, float* sums);)
