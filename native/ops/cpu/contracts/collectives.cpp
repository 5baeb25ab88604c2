// Collectives: the sizes of shards, whatever the degree.
#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules

namespace merak::contracts {
namespace {

// Collectives: sizes of shards, whatever the degree.
int64_t cut(const NodeSpec& spec) {
  const int64_t dim = spec.attrs.integer("dim");
  require(dim >= 0 && dim < static_cast<int64_t>(spec.inputs[0].shape.size()), "dim is past the last one");
  require(spec.attrs.integer("parts", 1) > 0, "parts must be positive");
  same_dtype(spec);
  require(out(spec).shape.size() == spec.inputs[0].shape.size(), "the result must have the input's rank");
  for (size_t d = 0; d < out(spec).shape.size(); d++)
    require(static_cast<int64_t>(d) == dim || out(spec).shape[d] == spec.inputs[0].shape[d], "only the cut dim may change");
  return dim;
}

void scatters(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t degree = spec.attrs.integer("degree");
  require(degree > 0 && out(spec).shape[dim] * degree == spec.inputs[0].shape[dim], "the shard has the wrong size");
}

void shards(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t degree = spec.attrs.integer("degree"), size = spec.attrs.integer("paddedSize", spec.inputs[0].shape[dim]);
  require(degree > 0 && size >= 0 && out(spec).shape[dim] * degree == size, "the shard has the wrong size");
}

void gathers_shards(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t local = spec.inputs[0].shape[dim], size = out(spec).shape[dim];
  const int64_t degree = spec.attrs.integer("degree", local == 0 ? 1 : (size + local - 1) / local);
  require(degree > 0 && degree <= 4096 && local * degree >= size, "the shards do not make the whole");
}

}  // namespace

void add_collective_rules(Rules& rules) {
  rules.add({"MerakShard"}, shards);
  rules.add({"MerakReduceScatter", "MerakReduceScatterStart"}, scatters);
  rules.add({"MerakAllGather", "MerakAllGatherStart"}, gathers_shards);
}

}  // namespace merak::contracts
