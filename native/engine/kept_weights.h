// Weights that stay packed from run to run: one copy for all kernels of an executable that read the same weight in the same layout.
#pragma once
#include <map>      // by weight and layout
#include <memory>   // std::shared_ptr
#include <string>   // layouts
#include <utility>  // std::pair

#include "engine/aligned.h"  // AlignedBytes

namespace merak {

// A packed weight. `memory` is taken before the first run, so that a plan can be asked what it needs without taking it.
struct PackedWeight {
  size_t bytes = 0;
  AlignedBytes memory;
  uint64_t packed_in = 0;  // the state of the parameters it was made from (RunContext::run); 0: none
};

class KeptWeights {
 public:
  // Of the weight at byte `offset` of the parameters, laid out as `layout` says.
  std::shared_ptr<PackedWeight> at(int64_t offset, const std::string& layout) {
    std::weak_ptr<PackedWeight>& known = weights_[{offset, layout}];
    std::shared_ptr<PackedWeight> weight = known.lock();
    if (!weight) known = weight = std::make_shared<PackedWeight>();
    return weight;
  }

 private:
  std::map<std::pair<int64_t, std::string>, std::weak_ptr<PackedWeight>> weights_;
};

}  // namespace merak
