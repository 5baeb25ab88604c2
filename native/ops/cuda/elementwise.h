// tfjs's element-wise nodes as chains.
#pragma once
#include "ops/cuda/chain.h"

namespace merak::cuda {

struct PlacedChain {
  Chain chain;
  std::vector<size_t> places;  // of the chain's inputs among the node's
};

// Throws Unsupported for a kernel that is none.
PlacedChain chain_of(const NodeSpec& spec);

}  // namespace merak::cuda
