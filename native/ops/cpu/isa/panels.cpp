// Panels: packing and multiplying.
#include "ops/cpu/isa/panels.h"

#include "ops/cpu/isa/gemm_tile.inl"  // gemm_tile
#include "ops/cpu/isa/transpose.inl"  // transpose16

namespace merak::MERAK_ISA {
namespace {

constexpr int kRows = kWidth == 16 ? 12 : 6;  // of a tile: as many sums as registers hold
constexpr int kVectors = kPanel / kWidth;
constexpr size_t kDepth = 256;       // of a panel's block that stays in the first cache
constexpr size_t kRowsAtOnce = 96;   // their part of a stays in the second one

template <int Rows>
void tile(int rows, int depth, const PanelProduct& x, const float* a, const float* panel, float* c, size_t stride, bool accumulate) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return tile<Rows - 1>(rows, depth, x, a, panel, c, stride, accumulate);
  }
  gemm_tile<Rows, kVectors>(depth, a, x.row_stride, x.depth_stride, panel, kPanel, c, stride, accumulate);
}

// Up to kRowsAtOnce rows, in tiles of nearly equal height, by one block of a panel.
void strip(size_t rows, int depth, const PanelProduct& x, const float* a, const float* panel, float* c, size_t stride, bool accumulate) {
  for (size_t row = 0, left = (rows + kRows - 1) / kRows; left > 0; left--) {
    const size_t count = (rows - row + left - 1) / left;
    tile<kRows>(static_cast<int>(count), depth, x, a + row * x.row_stride, panel, c + row * stride, stride, accumulate);
    row += count;
  }
}

// The last panel reaches past the last column: its sums pass through a place of their own.
void edge(size_t rows, int depth, const PanelProduct& x, const float* a, const float* panel, float* c, size_t width, bool accumulate) {
  float sums[kRowsAtOnce * kPanel];
  strip(rows, depth, x, a, panel, sums, kPanel, false);
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < width; j++) c[r * x.columns + j] = sums[r * kPanel + j] + (accumulate ? c[r * x.columns + j] : 0.0f);
}

void pack_panel(const float* b, size_t row_stride, size_t column_stride, size_t inner, size_t width, float* panel) {
  size_t p = 0;
  if (width == kPanel && column_stride == 1) {
    for (; p < inner; p++) __builtin_memcpy(panel + p * kPanel, b + p * row_stride, kPanel * sizeof(float));
  } else if (width == kPanel && row_stride == 1) {
    for (; p + kPanel <= inner; p += kPanel) {
      Words block[kPanel];
      for (size_t j = 0; j < kPanel; j++) __builtin_memcpy(block + j, b + j * column_stride + p, sizeof(Words));
      transpose16(block);
      __builtin_memcpy(panel + p * kPanel, block, sizeof block);
    }
  }
  for (; p < inner; p++)
    for (size_t j = 0; j < kPanel; j++) panel[p * kPanel + j] = j < width ? b[p * row_stride + j * column_stride] : 0.0f;
}

}  // namespace

void pack_panels(const float* b, size_t row_stride, size_t column_stride, size_t inner, size_t columns, size_t begin, size_t end,
                 float* packed) {
  for (size_t panel = begin; panel < end; panel++) {
    const size_t column = panel * kPanel, width = columns - column < kPanel ? columns - column : kPanel;
    pack_panel(b + column * column_stride, row_stride, column_stride, inner, width, packed + column * inner);
  }
}

void multiply_panels(const PanelProduct& x, size_t row, size_t row_end, size_t begin, size_t end) {
  for (; row < row_end; row += kRowsAtOnce) {
    const size_t rows = row_end - row < kRowsAtOnce ? row_end - row : kRowsAtOnce;
    for (size_t p = 0; p < x.inner; p += kDepth) {
      const int depth = static_cast<int>(x.inner - p < kDepth ? x.inner - p : kDepth);
      const float* a = x.a + row * x.row_stride + p * x.depth_stride;
      const bool adds = x.accumulate || p > 0;
      for (size_t panel = begin; panel < end; panel++) {
        const size_t column = panel * kPanel, width = x.columns - column;
        const float* block = x.panels + column * x.inner + p * kPanel;
        float* c = x.c + row * x.columns + column;
        if (width >= kPanel) strip(rows, depth, x, a, block, c, x.columns, adds);
        else edge(rows, depth, x, a, block, c, width, adds);
      }
    }
  }
}

}  // namespace merak::MERAK_ISA
