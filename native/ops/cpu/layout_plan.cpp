// The plans of layout_plan.h: reshapes, transposes, slices, pads, tiles, joins, splits; the rest is in layout_plan_blocks.h.
#include "ops/cpu/layout_plan.h"

#include <map>  // by name

#include "ops/cpu/layout_plan_blocks.h"
#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/shape.h"        // strides

namespace merak {
namespace {

LayoutPlan one(LayoutCopy copy) {
  LayoutPlan plan;
  plan.copies.push_back(std::move(copy));
  return plan;
}

// The elements in the same order: Identity, Reshape, ExpandDims.
LayoutPlan plan_same_order(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(x.numel() == y.numel() && size_of(x.dtype) == size_of(y.dtype), "input and output sizes differ");
  // Bytes where an element has two.
  const int64_t width = x.dtype == DType::bf16 ? 2 : 1;
  return one({0, 0, {x.numel() * width}, {1}, 0, {1}, 0, size_of(x.dtype) / static_cast<size_t>(width)});
}

LayoutPlan plan_transpose(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> perm = spec.attrs.ints("perm");
  require(perm.size() == x.shape.size(), "perm must name every dim");
  const Shape own = strides_of(x.shape);
  Shape strides;
  for (const int64_t d : perm) strides.push_back(own.at(static_cast<size_t>(d)));
  return one({0, 0, y.shape, strides, 0, strides_of(y.shape), 0, size_of(x.dtype)});
}

LayoutPlan plan_slice(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> begin = spec.attrs.ints("begin");
  const Shape strides = strides_of(x.shape);
  int64_t offset = 0;
  // `begin` may name the leading dims only.
  for (size_t d = 0; d < begin.size(); d++) {
    require(d < x.shape.size() && begin[d] >= 0 && begin[d] + y.shape[d] <= x.shape[d], "the slice leaves the tensor");
    offset += begin[d] * strides[d];
  }
  return one({0, 0, y.shape, strides, offset, strides_of(y.shape), 0, size_of(x.dtype)});
}

// NumPy's x[begin:end:stride, ...] with TensorFlow's masks.
LayoutPlan plan_strided_slice(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> begin = spec.attrs.ints("begin"), end = spec.attrs.ints("end");
  const std::vector<int64_t> step = spec.attrs.ints("strides", std::vector<int64_t>(begin.size(), 1));
  const auto mask = [&](const char* name) { return spec.attrs.integer(name, 0); };
  const int64_t begin_mask = mask("beginMask"), end_mask = mask("endMask"), ellipsis = mask("ellipsisMask");
  const int64_t new_axis = mask("newAxisMask"), shrink = mask("shrinkAxisMask");
  require(end.size() == begin.size() && step.size() == begin.size(), "begin, end and strides differ in length");
  const Shape own = strides_of(x.shape);
  const auto bit = [](int64_t bits, size_t i) { return ((bits >> i) & 1) != 0; };
  size_t num_consumed = 0;
  for (size_t i = 0; i < begin.size(); i++) {
    if (bit(ellipsis, i)) continue;
    if (!bit(new_axis, i)) num_consumed++;
  }
  require(num_consumed <= x.shape.size() && begin.size() <= 32, "more indices than dims");
  Shape sizes, strides;
  int64_t offset = 0;
  size_t d = 0;
  const auto whole = [&] {
    require(d < x.shape.size(), "more indices than dims");
    sizes.push_back(x.shape[d]);
    strides.push_back(own[d]);
    d++;
  };
  for (size_t i = 0; i < begin.size(); i++) {
    if (bit(ellipsis, i)) {
      for (size_t k = x.shape.size() - num_consumed; k > 0; k--) whole();
      continue;
    }
    require(bit(new_axis, i) || d < x.shape.size(), "more indices than dims");
    if (bit(new_axis, i)) continue;  // a dim of one element: nothing to copy differently
    const int64_t n = x.shape[d];
    if (bit(shrink, i)) {
      const int64_t index = begin[i] < 0 ? begin[i] + n : begin[i];
      require(index >= 0 && index < n, "an index leaves the tensor");
      offset += index * own[d++];
      continue;
    }
    require(step[i] != 0, "strides must not be 0");
    const int64_t low = step[i] > 0 ? 0 : -1, high = step[i] > 0 ? n : n - 1;
    const auto clamp = [&](int64_t at) { return std::min(std::max(at < 0 ? at + n : at, low), high); };
    const int64_t from = bit(begin_mask, i) ? (step[i] > 0 ? low : high) : clamp(begin[i]);
    const int64_t to = bit(end_mask, i) ? (step[i] > 0 ? high : low) : clamp(end[i]);
    const int64_t span = to - from;
    sizes.push_back(span == 0 || (span < 0) != (step[i] < 0) ? 0 : (span + step[i] - (step[i] > 0 ? 1 : -1)) / step[i]);
    offset += from * own[d];
    strides.push_back(step[i] * own[d]);
    d++;
  }
  while (d < x.shape.size()) whole();
  require(numel(sizes) == y.numel(), "the output shape does not match the slice");
  if (y.numel() == 0) offset = 0;
  return one({0, 0, sizes, strides, offset, strides_of(sizes), 0, size_of(x.dtype)});
}

LayoutPlan reversed(const TensorType& x, const std::vector<int64_t>& dims) {
  Shape strides = strides_of(x.shape);
  int64_t offset = 0;
  for (const int64_t d : dims) {
    offset += strides[static_cast<size_t>(d)] * (x.shape[static_cast<size_t>(d)] - 1);
    strides[static_cast<size_t>(d)] *= -1;
  }
  if (x.numel() == 0) offset = 0;
  return one({0, 0, x.shape, strides, offset, strides_of(x.shape), 0, size_of(x.dtype)});
}

LayoutPlan plan_reverse(const NodeSpec& spec) { return reversed(spec.inputs.at(0), reduction_axes(spec, "dims", spec.inputs[0].shape.size())); }

// FlipLeftRight: images [batch, height, width, channels].
LayoutPlan plan_flip(const NodeSpec& spec) {
  require(spec.inputs.at(0).shape.size() == 4, "images must be [batch, height, width, channels]");
  return reversed(spec.inputs[0], {2});
}

LayoutPlan plan_broadcast_to(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  return one({0, 0, y.shape, broadcast_strides(x.shape, y.shape), 0, strides_of(y.shape), 0, size_of(x.dtype)});
}

// Each dim becomes (repetition, index), the repetition reading the same place again.
LayoutPlan plan_tile(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const Shape own = strides_of(x.shape);
  Shape sizes, strides;
  for (size_t d = 0; d < x.shape.size(); d++) {
    sizes.push_back(x.shape[d] == 0 ? 0 : y.shape[d] / x.shape[d]);
    sizes.push_back(x.shape[d]);
    strides.push_back(0);
    strides.push_back(own[d]);
  }
  return one({0, 0, sizes, strides, 0, strides_of(sizes), 0, size_of(x.dtype)});
}

// Concat, Pack: input k lands at its own place of the joined dim.
LayoutPlan plan_join(const NodeSpec& spec) {
  const TensorType& y = spec.outputs.at(0);
  const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis").at(0), y.shape.size()));
  const bool packs = spec.kernel == "Pack";
  const int64_t outer = product(y.shape, 0, axis), inner = product(y.shape, axis + 1, y.shape.size());
  const int64_t row = y.shape[axis] * inner;
  LayoutPlan plan;
  int64_t at = 0;
  size_t k = 0;
  for (const TensorType& x : spec.inputs) {
    require(size_of(x.dtype) == size_of(y.dtype), "inputs differ in dtype");
    const int64_t width = (packs ? 1 : x.shape.at(axis)) * inner;
    require(x.numel() == outer * width, "input shapes do not fit the output");
    plan.copies.push_back({k++, 0, {outer, width}, {width, 1}, 0, {row, 1}, at, size_of(y.dtype)});
    at += width;
  }
  require(at == row, "input shapes do not add up to the output");
  return plan;
}

// SplitV, Unpack: the mirror image.
LayoutPlan plan_split(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  const bool unpacks = spec.kernel == "Unpack";
  const int64_t outer = product(x.shape, 0, axis), inner = product(x.shape, axis + 1, x.shape.size());
  const int64_t row = x.shape[axis] * inner;
  LayoutPlan plan;
  int64_t at = 0;
  size_t k = 0;
  for (const TensorType& y : spec.outputs) {
    const int64_t width = (unpacks ? 1 : y.shape.at(axis)) * inner;
    require(y.dtype == x.dtype && y.numel() == outer * width, "output shapes do not fit the input");
    plan.copies.push_back({0, k++, {outer, width}, {row, 1}, at, {width, 1}, 0, size_of(x.dtype)});
    at += width;
  }
  require(at == row, "output shapes do not add up to the input");
  return plan;
}

// `paddings` arrives flat: before, after, before, after, ...
LayoutPlan plan_pad(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> paddings = spec.attrs.ints("paddings");
  require(paddings.size() == 2 * x.shape.size(), "paddings must give two numbers for every dim");
  const double value = spec.attrs.number("constantValue", 0);
  const Shape to = strides_of(y.shape);
  int64_t offset = 0;
  for (size_t d = 0; d < x.shape.size(); d++) offset += paddings[2 * d] * to[d];
  LayoutPlan plan = one({0, 0, x.shape, strides_of(x.shape), 0, to, x.numel() == 0 ? 0 : offset, size_of(x.dtype)});
  plan.fills = true;
  plan.fill = value;
  return plan;
}

using Planner = LayoutPlan (*)(const NodeSpec&);

const std::map<std::string, Planner>& planners() {
  static const std::map<std::string, Planner> table = {
      {"Identity", plan_same_order}, {"Reshape", plan_same_order}, {"ExpandDims", plan_same_order}, {"Squeeze", plan_same_order},
      {"Transpose", plan_transpose}, {"Slice", plan_slice},        {"StridedSlice", plan_strided_slice}, {"Reverse", plan_reverse},
      {"BroadcastTo", plan_broadcast_to}, {"Tile", plan_tile},     {"Concat", plan_join},           {"Pack", plan_join},
      {"SplitV", plan_split},        {"Unpack", plan_split},       {"PadV2", plan_pad},
      {"SpaceToBatchND", plan_space_to_batch}, {"BatchToSpaceND", plan_batch_to_space}, {"DepthToSpace", plan_depth_to_space},
      {"MirrorPad", plan_mirror_pad}, {"FlipLeftRight", plan_flip}};
  return table;
}

}  // namespace

LayoutPlan plan_layout(const NodeSpec& spec) { return planners().at(spec.kernel)(spec); }

std::vector<std::string> layout_kernel_names() {
  std::vector<std::string> names;
  for (const auto& [name, planner] : planners()) names.push_back(name);
  return names;
}

}  // namespace merak
