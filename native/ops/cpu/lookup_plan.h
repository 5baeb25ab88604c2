// What GatherV2 and SearchSorted read where, for the processor and for cards.
#pragma once
#include "engine/kernel.h"  // NodeSpec

namespace merak {

// x [batch, outer, dim, slice], indices [batch, count] -> [batch, outer, count, slice]. `x`, `indices`: places among the inputs.
struct GatherPlan {
  size_t x, indices;
  int64_t batch, outer, dim, count, slice;
};

// Rows of sorted numbers [batch, length] and of values [batch, count] -> places [batch, count], `total` of them.
struct SearchPlan {
  size_t sorted, values;  // places among the inputs
  bool after_equals;      // the place after equal numbers, not before them
  int64_t length, count, total;
};

// Both throw std::runtime_error for what does not fit.
GatherPlan plan_gather(const NodeSpec& spec);
SearchPlan plan_search(const NodeSpec& spec);

}  // namespace merak
