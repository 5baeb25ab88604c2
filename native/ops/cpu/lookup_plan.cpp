// Reading the shapes of GatherV2 and of SearchSorted and its kin.
#include "ops/cpu/lookup_plan.h"

#include "ops/cpu/make_kernel.h"  // input_index, require
#include "ops/cpu/shape.h"        // normalise_axis, product

namespace merak {

GatherPlan plan_gather(const NodeSpec& spec) {
  const size_t x_at = input_index(spec, "x"), indices_at = input_index(spec, "indices");
  const TensorType &x = spec.inputs[x_at], &indices = spec.inputs[indices_at];
  const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  int64_t batch_dims = spec.attrs.integer("batchDims", 0);
  if (batch_dims < 0) batch_dims += static_cast<int64_t>(indices.shape.size());
  require(batch_dims >= 0 && static_cast<size_t>(batch_dims) <= axis, "batchDims must not exceed axis");
  require(indices.dtype == DType::i32, "indices must be int32");
  const size_t shared = static_cast<size_t>(batch_dims);
  const int64_t batch = product(x.shape, 0, shared);
  return {x_at, indices_at, batch, product(x.shape, shared, axis), x.shape[axis], batch == 0 ? 0 : indices.numel() / batch, product(x.shape, axis + 1, x.shape.size())};
}

SearchPlan plan_search(const NodeSpec& spec) {
  const size_t sorted_at = input_index(spec, "sortedSequence"), values_at = input_index(spec, "values");
  const TensorType &sorted = spec.inputs[sorted_at], &values = spec.inputs[values_at];
  require(sorted.shape.size() == 2 && values.shape.size() == 2 && sorted.shape[0] == values.shape[0], "the inputs must be [b, n] and [b, m]");
  require(spec.outputs.at(0).dtype == DType::i32, "the result must be int32");
  const std::string side = spec.kernel == "UpperBound" ? "right" : spec.kernel == "LowerBound" ? "left" : spec.attrs.text("side", "left");
  require(side == "left" || side == "right", "side must be 'left' or 'right'");
  return {sorted_at, values_at, side == "right", sorted.shape[1], values.shape[1], values.numel()};
}

}  // namespace merak
