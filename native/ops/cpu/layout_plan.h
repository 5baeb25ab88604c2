// What kernels that only move elements come down to: strided copies, the same for every device.
#pragma once
#include <string>  // names
#include <vector>  // copies

#include "engine/kernel.h"  // NodeSpec

namespace merak {

// Element (i0, i1, ...) of `sizes` goes from `from_at + sum i * from` of an input to `to_at + sum i * to` of an output, in elements.
struct LayoutCopy {
  size_t input, output;
  Shape sizes, from;
  int64_t from_at;
  Shape to;
  int64_t to_at;
  size_t element_bytes;
};

struct LayoutPlan {
  std::vector<LayoutCopy> copies;
  bool fills = false;  // output 0 is `fill` where nothing is copied
  double fill = 0;
};

// Of a node of one of layout_kernel_names(). Throws Unsupported for attributes that do not fit.
LayoutPlan plan_layout(const NodeSpec& spec);
std::vector<std::string> layout_kernel_names();

}  // namespace merak
