// A product of two float32 matrices by panels (isa/panels.h), on all threads.
#pragma once
#include "engine/kernel.h"        // NodeSpec
#include "ops/cpu/isa/panels.h"

namespace merak {

// The sizes of a product [rows, inner] by [inner, columns], whose right operand lies transposed or not.
struct ProductSizes {
  int64_t rows, inner, columns;
  bool transposed;
};

// Where panels are quicker than oneDNN, which has layouts of its own for AVX-512 but with AVX2 packs at every call: by a weight that
// stays packed, and by one that is packed for this product alone.
bool gains_by_kept_panels(const NodeSpec& spec, const ProductSizes& sizes);
bool gains_by_panels(const ProductSizes& sizes);

size_t panel_bytes(size_t inner, size_t columns);

void pack_into_panels(const float* b, size_t row_stride, size_t column_stride, size_t inner, size_t columns, float* panels);
// How the work is cut among the threads changes no sum.
void multiply_by_panels(const PanelProduct& product, size_t rows);

}  // namespace merak
