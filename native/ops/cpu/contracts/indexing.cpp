// Gathers, scatters and searches: indices and what they name.
#include <algorithm>  // max, min

#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/shape.h"             // product, normalise_axis

namespace merak::contracts {
namespace {

void gathers(const NodeSpec& spec) {
  const TensorType &x = in(spec, "x"), &indices = in(spec, "indices");
  same_dtype(spec);
  const auto axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  int64_t batch_dims = spec.attrs.integer("batchDims", 0);
  if (batch_dims < 0) batch_dims += static_cast<int64_t>(indices.shape.size());
  require(batch_dims >= 0 && static_cast<size_t>(batch_dims) <= std::min(axis, indices.shape.size()), "batchDims is out of range");
  for (size_t d = 0; d < static_cast<size_t>(batch_dims); d++) require(x.shape[d] == indices.shape[d], "batch dims differ");
  const int64_t batch = product(x.shape, 0, static_cast<size_t>(batch_dims));
  require(batch != 0 || out(spec).numel() == 0, "the result has the wrong size");
  if (batch) sized(out(spec), x.numel() / std::max<int64_t>(1, x.shape[axis]) * (indices.numel() / batch) * (x.shape[axis] == 0 ? 0 : 1));
  if (batch && x.shape[axis] == 0) require(indices.numel() == 0, "nothing can be gathered from an empty dim");
}

// Rows of indices name slices of a tensor of `shape`.
void indexed(const TensorType& indices, size_t depth, const Shape& shape, const TensorType& slices) {
  is(indices, DType::i32);
  require(depth <= shape.size(), "indices name more dims than the tensor has");
  const int64_t rows = depth == 0 ? product(indices.shape, 0, indices.shape.size() - 1) : indices.numel() / static_cast<int64_t>(depth);
  sized(slices, rows * product(shape, depth, shape.size()));
}

size_t scatter_depth(const TensorType& indices) { return indices.shape.size() > 1 ? static_cast<size_t>(indices.shape.back()) : 1; }

}  // namespace

void add_indexing_rules(Rules& rules) {
  rules.add({"GatherV2"}, gathers);
  rules.add({"GatherNd"}, [](const NodeSpec& s) {
    const TensorType &indices = in(s, "indices"), &params = in(s, "params");
    require(!indices.shape.empty() && params.dtype == out(s).dtype, "indices must have a dim, and the result the dtype of params");
    indexed(indices, static_cast<size_t>(indices.shape.back()), params.shape, out(s));
  });
  rules.add({"ScatterNd"}, [](const NodeSpec& s) {
    require(in(s, "updates").dtype == out(s).dtype, "updates must have the result's dtype");
    indexed(in(s, "indices"), scatter_depth(in(s, "indices")), out(s).shape, in(s, "updates"));
  });
  rules.add({"TensorScatterUpdate"}, [](const NodeSpec& s) {
    same_type(in(s, "tensor"), out(s));
    require(in(s, "updates").dtype == out(s).dtype, "updates must have the result's dtype");
    indexed(in(s, "indices"), scatter_depth(in(s, "indices")), out(s).shape, in(s, "updates").shape.empty() ? [&] {
      TensorType all = in(s, "updates");
      const size_t depth = scatter_depth(in(s, "indices"));
      require(depth <= out(s).shape.size(), "indices name more dims than the tensor has");
      const int64_t rows = depth == 0 ? product(in(s, "indices").shape, 0, in(s, "indices").shape.size() - 1) : in(s, "indices").numel() / static_cast<int64_t>(depth);
      all.shape = {rows * product(out(s).shape, depth, out(s).shape.size())};
      return all;
    }() : in(s, "updates"));
  });
  rules.add({"UnsortedSegmentSum"}, [](const NodeSpec& s) {
    const TensorType& x = in(s, "x");
    require(!x.shape.empty() && s.attrs.integer("numSegments") >= 0, "x must have a dim and numSegments not be negative");
    sized(out(s), s.attrs.integer("numSegments") * product(x.shape, 1, x.shape.size()));
  });
  rules.add({"SearchSorted", "LowerBound", "UpperBound"}, [](const NodeSpec& s) { same_size(in(s, "values"), out(s)); });
}

}  // namespace merak::contracts
