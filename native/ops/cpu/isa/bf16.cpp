// Rounding to bfloat16 and laying matrices out for oneDNN's bf16 products.
#include "ops/cpu/isa/bf16.h"

#include "ops/cpu/isa/rounding.inl"   // lower, upper, number
#include "ops/cpu/isa/transpose.inl"  // transpose16

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

// pairs[i] = (x[i], y[i]) for n columns of two rows; `y` may be null for a row of zeros.
template <class Number>
[[gnu::always_inline]] inline void pair_rows(const Number* x, const Number* y, size_t n, uint32_t* restrict pairs) {
  if (y)
    for (size_t i = 0; i < n; i++) pairs[i] = lower(x[i]) | upper(y[i]);
  else
    for (size_t i = 0; i < n; i++) pairs[i] = lower(x[i]);
}

// pairs[i] = (x[2i], x[2i + 1]) for n elements of one row, zero up to sixteen pairs.
template <class Number>
[[gnu::always_inline]] inline void pair_columns(const Number* x, size_t n, uint32_t* restrict pairs) {
  if (n >= 32) {
    for (size_t i = 0; i < 16; i++) pairs[i] = lower(x[2 * i]) | upper(x[2 * i + 1]);
    return;
  }
  for (size_t i = 0; i < 16; i++)
    pairs[i] = (2 * i < n ? lower(x[2 * i]) : 0u) | (2 * i + 1 < n ? upper(x[2 * i + 1]) : 0u);
}

size_t least(size_t a, size_t b) { return a < b ? a : b; }

// Rows [begin, end) of b, two at a time, begin even: read as they lie, written to every strip.
template <size_t Columns, class Number>
void pack_plain(const Number* b, const Matrix& shape, size_t begin, size_t end, uint32_t* packed) {
  const size_t strip_size = packed_strip_size(shape.rows, Columns) / 2, num_strips = packed_strips(shape.columns, Columns);
  for (size_t r = begin; r < end; r += 2) {
    const Number* x = b + r * shape.stride;
    const Number* y = r + 1 < shape.rows ? x + shape.stride : nullptr;
    uint32_t* target = packed + r / 2 * Columns;
    for (size_t strip = 0; strip < num_strips; strip++, target += strip_size) {
      const size_t first = strip * Columns, width = least(Columns, shape.columns - first);
      if (width == Columns) {
        pair_rows(x + first, y ? y + first : nullptr, Columns, target);
      } else {
        pair_rows(x + first, y ? y + first : nullptr, width, target);
        for (size_t i = width; i < Columns; i++) target[i] = 0;
      }
    }
  }
  if (end < shape.rows) return;
  const size_t last = strip_size / Columns;  // pairs of rows, padding included
  for (size_t pair = (shape.rows + 1) / 2; pair < last; pair++)
    for (size_t strip = 0; strip < num_strips; strip++)
      for (size_t i = 0; i < Columns; i++) packed[strip * strip_size + pair * Columns + i] = 0;
}

// Rows [begin, end) of b, which are columns of the product's operand; begin a multiple of sixteen. Past the last row zeros.
template <size_t Columns, class Number>
void pack_transposed(const Number* b, const Matrix& shape, size_t begin, size_t end, uint32_t* packed) {
  const size_t strip_size = packed_strip_size(shape.columns, Columns) / 2;
  if (end == shape.rows) end = packed_strips(shape.rows, Columns) * Columns;
  for (size_t row = begin; row < end; row += 16) {
    uint32_t* target = packed + row / Columns * strip_size + row % Columns;
    for (size_t c = 0; c < shape.columns; c += kPackedRows, target += kPackedRows / 2 * Columns) {
      Words tile[16];
      for (size_t i = 0; i < 16; i++) {
        if (row + i < shape.rows) pair_columns(b + (row + i) * shape.stride + c, shape.columns - c, reinterpret_cast<uint32_t*>(tile + i));
        else tile[i] = Words{};
      }
      transpose16(tile);
      for (size_t i = 0; i < 16; i++) *reinterpret_cast<Words*>(target + i * Columns) = tile[i];
    }
  }
}

// A tile of the transpose: columns [c, c + width) of 32 rows of `a` (sixteen pairs) from row r on.
template <class Number>
[[gnu::always_inline]] inline void transpose_tile(const Number* a, const Matrix& shape, size_t c, size_t width, size_t r, uint16_t* y,
                                                  size_t stride) {
  Words tile[16];
  for (size_t i = 0; i < 16; i++) {
    const size_t row = r + 2 * i;
    const Number* x = a + row * shape.stride + c;
    if (width == 16 && row + 1 < shape.rows) {
      pair_rows(x, x + shape.stride, 16, reinterpret_cast<uint32_t*>(tile + i));
      continue;
    }
    tile[i] = Words{};
    if (row < shape.rows) pair_rows(x, row + 1 < shape.rows ? x + shape.stride : nullptr, width, reinterpret_cast<uint32_t*>(tile + i));
  }
  transpose16(tile);
  const size_t length = least(32, shape.rows - r);
  for (size_t i = 0; i < width; i++) {
    uint16_t* target = y + (c + i) * stride + r;
    if (length == 32) __builtin_memcpy(target, tile + i, 64);
    else __builtin_memcpy(target, tile + i, length * sizeof(uint16_t));
  }
}

// Row block by row block: `a` is read along its rows, and what is written, 64 bytes at a time, is about to be read.
template <class Number>
void transpose_rows(const Number* a, const Matrix& shape, size_t begin, size_t end, uint16_t* y, size_t stride) {
  for (size_t r = 0; r < shape.rows; r += 32)
    for (size_t c = begin; c < end; c += 16) transpose_tile(a, shape, c, least(16, end - c), r, y, stride);
}

template <class Number>
void sum_columns(const Number* x, const Matrix& shape, size_t begin, size_t end, float* restrict sums) {
  for (size_t r = begin; r < end; r++)
    for (size_t c = 0; c < shape.columns; c++) sums[c] += number(x[r * shape.stride + c]);
}

}  // namespace

void to_bf16(const float* restrict x, uint16_t* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = static_cast<uint16_t>(lower(x[i]));
}

void from_bf16(const uint16_t* restrict x, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = number(x[i]);
}

void round_to_bf16(const float* restrict x, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = std::bit_cast<float>(upper(x[i]));
}

void pack_rows(const Matrix& b, bool transposed, size_t strip, size_t begin, size_t end, uint16_t* packed) {
  auto* target = reinterpret_cast<uint32_t*>(packed);
  const auto pack = [&](const auto* data) {
    if (strip == 32) transposed ? pack_transposed<32>(data, b, begin, end, target) : pack_plain<32>(data, b, begin, end, target);
    else transposed ? pack_transposed<64>(data, b, begin, end, target) : pack_plain<64>(data, b, begin, end, target);
  };
  if (b.wide) pack(static_cast<const float*>(b.data));
  else pack(static_cast<const uint16_t*>(b.data));
}

void transpose_to_bf16(const Matrix& a, size_t begin, size_t end, uint16_t* y, size_t stride) {
  if (a.wide) transpose_rows(static_cast<const float*>(a.data), a, begin, end, y, stride);
  else transpose_rows(static_cast<const uint16_t*>(a.data), a, begin, end, y, stride);
}

void add_column_sums(const Matrix& x, size_t begin, size_t end, float* sums) {
  if (x.wide) sum_columns(static_cast<const float*>(x.data), x, begin, end, sums);
  else sum_columns(static_cast<const uint16_t*>(x.data), x, begin, end, sums);
}

}  // namespace merak::MERAK_ISA
