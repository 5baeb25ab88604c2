// Shapes and strides: the index arithmetic shared by the kernels, in elements.
#pragma once
#include "engine/kernel.h"  // Shape, NodeSpec

namespace merak {

int64_t numel(const Shape& shape);

// Row-major strides.
Shape strides_of(const Shape& shape);

// Strides of `shape` read as `target` under NumPy broadcasting: 0 in broadcast dims. Throws Unsupported if it does not broadcast.
Shape broadcast_strides(const Shape& shape, const Shape& target);

// A dim number from an axis that may be negative; throws Unsupported outside [-rank, rank).
int64_t normalise_axis(int64_t axis, size_t rank);

// Attribute `name` as sorted, distinct dims; all dims when it is missing or empty, as tfjs's parseAxisParam.
std::vector<int64_t> reduction_axes(const NodeSpec& spec, const char* name, size_t rank);

// The product of dims [begin, end).
int64_t product(const Shape& shape, size_t begin, size_t end);

}  // namespace merak
