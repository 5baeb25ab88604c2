// Panels on all threads.
#include "ops/cpu/panel_product.h"

#include <omp.h>  // threads

#include <algorithm>  // std::min

#include "ops/cpu/kept_weight.h"  // KeptWeight
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

// Multiplications below which a second thread costs more than it brings.
constexpr size_t kSmallProduct = 1 << 18;
// Rows with which oneDNN's packing no longer counts: by a weight that lies transposed, which it packs well, and by one that does not.
constexpr int64_t kMostRows = 384, kMostPlainRows = 256;
// What is smaller takes little time however it is multiplied, and keeping it as much memory as it has parameters.
constexpr int64_t kLeastKept = 1 << 14;
// Of a large weight many rows pay for the packing, so that memory need not.
constexpr int64_t kPayingRows = 96, kLarge = 1 << 19;

// Rows for which a thread may as well read all panels.
constexpr size_t kRowsOfThread = 192;

size_t num_panels(size_t columns) { return (columns + kPanel - 1) / kPanel; }

}  // namespace

bool gains_by_panels(const ProductSizes& sizes) {
  const auto [rows, inner, columns, transposed] = sizes;
  return isa() == Isa::avx2 && !transposed && rows >= kPayingRows && rows <= kMostPlainRows && inner * columns >= kLarge;
}

bool gains_by_kept_panels(const NodeSpec& spec, const ProductSizes& sizes) {
  const auto [rows, inner, columns, transposed] = sizes;
  return isa() == Isa::avx2 && KeptWeight::stays(spec, rows) && rows >= 2 && rows <= (transposed ? kMostRows : kMostPlainRows) &&
         inner * columns >= kLeastKept && !gains_by_panels(sizes);
}

size_t panel_bytes(size_t inner, size_t columns) { return num_panels(columns) * kPanel * inner * sizeof(float); }

void pack_into_panels(const float* b, size_t row_stride, size_t column_stride, size_t inner, size_t columns, float* panels) {
  const auto pack = MERAK_PICK(pack_panels);
  const auto grain = kParallelGrain / static_cast<int64_t>(kPanel * inner);
  parallel_for(static_cast<int64_t>(num_panels(columns)), grain, [&](int64_t begin, int64_t end) {
    pack(b, row_stride, column_stride, inner, columns, static_cast<size_t>(begin), static_cast<size_t>(end), panels);
  });
}

void multiply_by_panels(const PanelProduct& product, size_t rows) {
  const auto multiply = MERAK_PICK(multiply_panels);
  const size_t panels = num_panels(product.columns);
  const bool small = rows * product.columns * product.inner < kSmallProduct;
  const size_t threads = small ? 1 : static_cast<size_t>(omp_get_max_threads());
  const size_t down = std::clamp<size_t>(rows / kRowsOfThread, 1, threads);
  const size_t across = std::min(panels, (threads + down - 1) / down), tasks = down * across;
#pragma omp parallel for schedule(static) if (tasks > 1)
  for (size_t task = 0; task < tasks; task++) {
    const size_t i = task / across, j = task % across;
    multiply(product, rows * i / down, rows * (i + 1) / down, panels * j / across, panels * (j + 1) / across);
  }
}

}  // namespace merak
