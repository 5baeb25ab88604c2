// Blocks of 32 x 32 sums in four tiles: every tile of either operand that is loaded is used twice.
#include "ops/cpu/amx/product.h"

#include "ops/cpu/amx/tiles.h"  // configure
#include "ops/cpu/isa/bf16.h"   // the packed form

namespace merak::amx {
namespace {

constexpr size_t kBlock = 32;
constexpr size_t kRowBytesB = kBlock * 2 * sizeof(uint16_t);

// Sums of `rows` rows and 32 columns; a second row of tiles only if Two.
template <bool Two>
[[gnu::always_inline]] inline void sum_block(const uint16_t* a, size_t stride, const uint16_t* b, size_t steps, float* c, size_t ld,
                                             bool accumulate) {
  const size_t ld_bytes = ld * sizeof(float), a_bytes = stride * sizeof(uint16_t);
  if (accumulate) {
    _tile_loadd(0, c, ld_bytes);
    _tile_loadd(1, c + 16, ld_bytes);
    if (Two) _tile_loadd(2, c + 16 * ld, ld_bytes);
    if (Two) _tile_loadd(3, c + 16 * ld + 16, ld_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (Two) _tile_zero(2);
    if (Two) _tile_zero(3);
  }
  for (size_t step = 0; step < steps; step++) {
    _tile_loadd(6, b, kRowBytesB);
    _tile_loadd(4, a, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 32, kRowBytesB);
    _tile_dpbf16ps(1, 4, 7);
    if (Two) {
      _tile_loadd(5, a + 16 * stride, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    a += 32;
    b += 32 * kBlock;
  }
  _tile_stored(0, c, ld_bytes);
  _tile_stored(1, c + 16, ld_bytes);
  if (Two) _tile_stored(2, c + 16 * ld, ld_bytes);
  if (Two) _tile_stored(3, c + 16 * ld + 16, ld_bytes);
}

}  // namespace

size_t rows_at_once(const Product& product) {
  constexpr size_t kBytes = 1 << 20;
  const size_t rows = kBytes / (product.stride * sizeof(uint16_t)) / kBlock * kBlock;
  return rows < kBlock ? kBlock : rows;
}

void multiply(const Product& product, const Finish& finish, size_t row_begin, size_t row_end, size_t strip_begin, size_t strip_end) {
  const size_t strip_size = packed_strip_size(product.k, kBlock), steps = (product.k + 31) / 32;
  const bool is_plain = !finish.bias && !finish.residual && !finish.point && !finish.activated && !finish.narrow_out;
  auto* out = static_cast<float*>(finish.out);
  alignas(64) float sums[kBlock * kBlock];
  const auto block = [&](size_t row, size_t rows, size_t strip) {
    const uint16_t *a = product.a + row * product.stride, *b = product.packed_b + strip * strip_size;
    const size_t column = strip * kBlock, columns = product.n - column < kBlock ? product.n - column : kBlock;
    const bool is_direct = is_plain && columns == kBlock;
    float* c = is_direct ? out + row * finish.stride + column : sums;
    const size_t ld = is_direct ? finish.stride : kBlock;
    if (!is_direct && product.accumulate)
      for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) sums[r * kBlock + i] = out[(row + r) * finish.stride + column + i];
    if (rows > 16) sum_block<true>(a, product.stride, b, steps, c, ld, product.accumulate);
    else sum_block<false>(a, product.stride, b, steps, c, ld, product.accumulate);
    if (!is_direct) isa_avx512::finish_block(finish, sums, kBlock, row, column, rows, columns);
  };
  const size_t whole = row_begin + (row_end - row_begin) / kBlock * kBlock;
  if (whole > row_begin) configure(kBlock);
  for (size_t strip = strip_begin; whole > row_begin && strip < strip_end; strip++)
    for (size_t row = row_begin; row < whole; row += kBlock) block(row, kBlock, strip);
  if (row_end > whole) {
    configure(row_end - whole);
    for (size_t strip = strip_begin; strip < strip_end; strip++) block(whole, row_end - whole, strip);
  }
  _tile_release();
}

}  // namespace merak::amx
