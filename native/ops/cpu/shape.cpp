// The functions of shape.h.
#include "ops/cpu/shape.h"

#include <algorithm>  // std::sort, std::unique

namespace merak {

int64_t numel(const Shape& shape) { return product(shape, 0, shape.size()); }

int64_t product(const Shape& shape, size_t begin, size_t end) {
  int64_t n = 1;
  for (size_t d = begin; d < end; d++) n *= shape[d];
  return n;
}

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= shape[d];
  }
  return strides;
}

Shape broadcast_strides(const Shape& shape, const Shape& target) {
  if (shape.size() > target.size()) throw Unsupported("an operand has more dims than the result");
  const size_t lead = target.size() - shape.size();
  const Shape own = strides_of(shape);
  Shape strides(target.size(), 0);
  for (size_t d = 0; d < shape.size(); d++) {
    if (shape[d] == target[lead + d]) {
      strides[lead + d] = shape[d] == 1 ? 0 : own[d];
    } else if (shape[d] != 1) {
      throw Unsupported("operand shapes do not broadcast to the result's");
    }
  }
  return strides;
}

int64_t normalise_axis(int64_t axis, size_t rank) {
  const int64_t dims = static_cast<int64_t>(rank);
  if (axis < -dims || axis >= dims) throw Unsupported("axis " + std::to_string(axis) + " of a rank " + std::to_string(rank) + " tensor");
  return axis < 0 ? axis + dims : axis;
}

std::vector<int64_t> reduction_axes(const NodeSpec& spec, const char* name, size_t rank) {
  std::vector<int64_t> axes = spec.attrs.ints(name, {});
  // An empty list reduces nothing; a missing one reduces everything.
  if (!spec.attrs.has(name))
    for (size_t d = 0; d < rank; d++) axes.push_back(static_cast<int64_t>(d));
  for (int64_t& axis : axes) axis = normalise_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  return axes;
}

}  // namespace merak
