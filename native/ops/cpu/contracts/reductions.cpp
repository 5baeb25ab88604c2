// Reductions over axes, extremes and counts.
#include <algorithm>  // find

#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/shape.h"             // product, reduction_axes

namespace merak::contracts {
namespace {

int64_t kept_size(const NodeSpec& spec, const std::vector<int64_t>& axes) {
  const Shape& shape = spec.inputs[0].shape;
  int64_t size = 1;
  for (size_t d = 0; d < shape.size(); d++)
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) size *= shape[d];
  return size;
}

void reduces(const NodeSpec& spec) {
  sized(out(spec), kept_size(spec, reduction_axes(spec, spec.kernel == "Max" ? "reductionIndices" : "axis", spec.inputs[0].shape.size())));
}

void reduces_one(const NodeSpec& spec) {
  sized(out(spec), kept_size(spec, {normalise_axis(spec.attrs.ints("axis", {0}).at(0), spec.inputs[0].shape.size())}));
}

}  // namespace

void add_reduction_rules(Rules& rules) {
  rules.add({"Sum", "Mean", "Max", "Min", "Prod", "All", "Any"}, reduces);
  rules.add({"ArgMax", "ArgMin"}, [](const NodeSpec& s) {
    reduces_one(s);
    require(s.inputs[0].numel() > 0 || out(s).numel() == 0, "an empty dim has no extreme");
  });
  rules.add({"TopK"}, [](const NodeSpec& s) {
    same_dtype(s);
    require(!s.inputs[0].shape.empty(), "the input must have a dim");
    is(out(s, 1), DType::i32);
    same_size(out(s), out(s, 1));
    sized(out(s), product(s.inputs[0].shape, 0, s.inputs[0].shape.size() - 1) * s.attrs.integer("k", 1));
  });
  rules.add({"Bincount", "DenseBincount"}, [](const NodeSpec& s) { require(s.attrs.integer("size") >= 0, "size must not be negative"); });
  rules.add({"Unique"}, [](const NodeSpec& s) {
    same_dtype(s);
    is(out(s, 1), DType::i32);
    is(out(s, 2), DType::i32);
  });
}

}  // namespace merak::contracts
