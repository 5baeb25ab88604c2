// Where the front of an arena ends.
#include "engine/exchanged.h"

#include <algorithm>  // std::max
#include <set>        // kernel families

namespace merak {
namespace {

const std::set<std::string> kCollectives = {"MerakAllReduce",      "MerakAllGather",      "MerakReduceScatter",
                                            "MerakAllReduceStart", "MerakAllGatherStart", "MerakReduceScatterStart"};

int64_t end_of(const Spaces& spaces, Space space) {
  const SpacePlan& place = spaces[static_cast<size_t>(space)];
  return place.base + place.bytes();
}

}  // namespace

int64_t exchanged_bytes(const RankPlan& plan) { return std::max(end_of(plan.spaces, Space::parameters), end_of(plan.spaces, Space::gradients)); }

int64_t exchanged_bytes(const Executable& executable, const RankPlan& plan) {
  if (plan.world_size() == 1) return 0;
  int64_t bytes = 0;
  const auto include = [&](Space space) {
    if (!is_persistent(space)) bytes = std::max(bytes, end_of(executable.spaces, space));
  };
  include(Space::metrics);
  include(Space::sent);
  include(Space::sentGradients);
  for (const Program& program : executable.programs)
    for (const ProgramNode& node : program.nodes) {
      if (!kCollectives.contains(node.kernel)) continue;
      for (const int value : node.inputs) include(program.values[static_cast<size_t>(value)].space);
      for (const int value : node.outputs) include(program.values[static_cast<size_t>(value)].space);
    }
  return bytes;
}

}  // namespace merak
