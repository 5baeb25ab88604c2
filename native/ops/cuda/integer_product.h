// Products of int32 matrices.
#pragma once
#include "ops/cuda/launch.h"

namespace merak::cuda {

std::unique_ptr<Kernel> make_integer_product(const NodeSpec& spec, Device& device);

}  // namespace merak::cuda
