// Products of float32 whose right operand lies in panels: sixteen columns side by side, row after row, as a tile of registers takes
// them. What is packed once is then multiplied at the processor's rate by however few rows.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

constexpr size_t kPanel = 16;

// a [rows, inner], element (r, p) at a[r * row_stride + p * depth_stride], by `panels` of `inner` rows each.
struct PanelProduct {
  const float* a;
  size_t row_stride, depth_stride;
  const float* panels;
  size_t inner, columns;
  float* c;  // [rows, columns], dense
  bool accumulate;
};

}  // namespace merak

MERAK_ISA_DECLARE(
  // Panels [begin, end) of b [inner, columns], element (p, j) at b[p * row_stride + j * column_stride]; zeros past the last column.
  void pack_panels(const float* b, size_t row_stride, size_t column_stride, size_t inner, size_t columns, size_t begin, size_t end,
                   float* packed);
  // Rows [row, row_end) of the columns of panels [begin, end): c = a b, or c += a b.
  void multiply_panels(const PanelProduct& product, size_t row, size_t row_end, size_t begin, size_t end);)
