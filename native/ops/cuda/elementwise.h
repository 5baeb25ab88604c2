// tfjs's element-wise nodes as chains.
#pragma once
#include "ops/cuda/chain.h"

namespace merak::cuda {

struct PlacedChain {
  Chain chain;
  std::vector<size_t> places;  // of the chain's inputs among the node's
};

// Throws Unsupported for a kernel that is none. Of a MerakFused with a `reduction` what comes before that.
PlacedChain chain_of(const NodeSpec& spec);

// A MerakFused whose elements are reduced over dims `axes` as they are computed.
std::unique_ptr<Kernel> make_reduced_chain(const NodeSpec& spec, Device& device);
std::string reduced_chain_source(const Chain& chain);

}  // namespace merak::cuda
