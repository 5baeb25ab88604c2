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

namespace {

constexpr size_t kSteps = 16;  // of the inner dim at a time: 32 KiB of either operand's 32 rows or columns stay in the first-level cache

// Where blocks of sums grow: in the result itself where nothing else is to be done to them, else in `sums`, from where they are
// finished together. Going from the tile unit to vectors and back costs some 1500 cycles (measured on a Xeon of the fourth generation).
class Blocks {
 public:
  Blocks(const Product& product, const Finish& finish, float* sums)
      : product_(product), finish_(finish), sums_(sums),
        is_plain_(!finish.bias && !finish.residual && !finish.point && !finish.activated && !finish.narrow_out) {}

  // Makes room for `count` blocks more; those before stay where they are until `finish_pending` finds no room for the next.
  void reserve(size_t count) {
    if (count_ + count > kPendingBlocks) finish_pending();
  }

  struct Sums {
    float* data;
    size_t ld;
  };
  Sums add(size_t row, size_t rows, size_t strip) {
    const size_t column = strip * kBlock, columns = least(product_.n - column);
    float* result = static_cast<float*>(finish_.out) + row * finish_.stride + column;
    if (is_plain_ && columns == kBlock) return {result, finish_.stride};
    float* sums = sums_ + kBlock * kBlock * count_;
    if (product_.accumulate)
      for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) sums[r * kBlock + i] = result[r * finish_.stride + i];
    places_[count_++] = {row, column};
    return {sums, kBlock};
  }

  void finish_pending() {
    for (size_t i = 0; i < count_; i++) {
      const auto [row, column] = places_[i];
      isa_amx::finish_block(finish_, sums_ + kBlock * kBlock * i, kBlock, row, column, least(product_.m - row), least(product_.n - column));
    }
    count_ = 0;
  }

 private:
  struct Place {
    size_t row, column;
  };
  static size_t least(size_t left) { return left < kBlock ? left : kBlock; }

  const Product& product_;
  const Finish& finish_;
  float* sums_;
  bool is_plain_;
  Place places_[kPendingBlocks];
  size_t count_ = 0;
};

// A range of blocks along one dim.
struct Range {
  size_t begin, end;
  size_t size() const { return end - begin; }
};

// Blocks of `rows` rows (those configured) from `first_row` on, `row_blocks` of them, times strips: all of them over the first steps of
// the inner dim, then over the next ones.
void multiply_panel(const Product& product, size_t first_row, size_t rows, Range row_blocks, Range strips, Blocks& blocks) {
  const size_t strip_size = packed_strip_size(product.k, kBlock), num_steps = (product.k + 31) / 32;
  Blocks::Sums sums[kPendingBlocks];
  blocks.reserve(row_blocks.size() * strips.size());
  size_t count = 0;
  for (size_t r = row_blocks.begin; r < row_blocks.end; r++)
    for (size_t strip = strips.begin; strip < strips.end; strip++) sums[count++] = blocks.add(first_row + r * kBlock, rows, strip);
  for (size_t step = 0; step < num_steps; step += kSteps) {
    const size_t steps = num_steps - step < kSteps ? num_steps - step : kSteps;
    count = 0;
    for (size_t r = row_blocks.begin; r < row_blocks.end; r++)
      for (size_t strip = strips.begin; strip < strips.end; strip++, count++)
        sum_block(rows, product.a + (first_row + r * kBlock) * product.stride + step * 32, product.stride,
                  product.packed_b + strip * strip_size + step * 32 * kBlock, steps, sums[count].data, sums[count].ld,
                  step > 0 || product.accumulate);
  }
}

}  // namespace

void multiply(const Product& product, const Finish& finish, size_t strip_begin, size_t strip_end, float* sums) {
  Blocks blocks(product, finish, sums);
  const auto in_panels = [](Range range, const auto& panel) {
    for (size_t begin = range.begin; begin < range.end; begin += kPendingBlocks)
      panel(Range{begin, range.end - begin < kPendingBlocks ? range.end : begin + kPendingBlocks});
  };
  const size_t whole = product.m / kBlock, rest = product.m % kBlock;
  const Range strips{strip_begin, strip_end};
  if (whole > 0) configure(kBlock);
  if (keeps_right(product.n, product.k)) {
    for (size_t r = 0; r < whole; r++)
      in_panels(strips, [&](Range panel) { multiply_panel(product, 0, kBlock, {r, r + 1}, panel, blocks); });
  } else {
    for (size_t strip = strip_begin; strip < strip_end; strip++)
      in_panels({0, whole}, [&](Range panel) { multiply_panel(product, 0, kBlock, panel, {strip, strip + 1}, blocks); });
  }
  if (rest > 0) {
    configure(rest);
    in_panels(strips, [&](Range panel) { multiply_panel(product, whole * kBlock, rest, {0, 1}, panel, blocks); });
  }
  blocks.finish_pending();
  _tile_release();
}

}  // namespace merak::amx
