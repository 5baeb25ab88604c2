// Blocks of 32 x 32 sums in four tiles: every tile of either operand that is loaded is used twice.
#include "ops/cpu/amx/product.h"

#include "ops/cpu/amx/tiles.h"  // sum_block
#include "ops/cpu/isa/bf16.h"   // the packed form

namespace merak::amx {
namespace {

// The right operand stays in the second-level cache while all rows go by.
bool keeps_right(size_t n, size_t k) {
  constexpr size_t kBytes = 5 << 18;
  return packed_strips(n, kBlock) * packed_strip_size(k, kBlock) * sizeof(uint16_t) <= kBytes;
}

}  // namespace

size_t rows_at_once(size_t n, size_t k, bool copies) {
  constexpr size_t kBytes = 1 << 20;
  if (keeps_right(n, k) && !copies) return size_t{1} << 40;
  const size_t rows = kBytes / ((k + 31) / 32 * 64) / kBlock * kBlock;
  return rows < kBlock ? kBlock : rows;
}

void multiply(const Product& product, const Finish& finish, size_t strip_begin, size_t strip_end) {
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
    sum_block(rows, a, product.stride, b, steps, c, ld, product.accumulate);
    if (!is_direct) isa_avx512::finish_block(finish, sums, kBlock, row, column, rows, columns);
  };
  const size_t whole = product.m / kBlock * kBlock;
  if (whole > 0) configure(kBlock);
  if (keeps_right(product.n, product.k)) {
    for (size_t row = 0; row < whole; row += kBlock)
      for (size_t strip = strip_begin; strip < strip_end; strip++) block(row, kBlock, strip);
  } else {
    for (size_t strip = strip_begin; whole > 0 && strip < strip_end; strip++)
      for (size_t row = 0; row < whole; row += kBlock) block(row, kBlock, strip);
  }
  if (product.m > whole) {
    configure(product.m - whole);
    for (size_t strip = strip_begin; strip < strip_end; strip++) block(whole, product.m - whole, strip);
  }
  _tile_release();
}

}  // namespace merak::amx
