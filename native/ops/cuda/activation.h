// The activation that tfjs's fused kernels end with, in place.
#pragma once
#include "ops/cuda/launch.h"

namespace merak::cuda {

// A kernel whose input is its output, or null where attribute `activation` is linear. Throws Unsupported for one it has not.
std::unique_ptr<Kernel> make_activation(const NodeSpec& spec, Device& device);

}  // namespace merak::cuda
