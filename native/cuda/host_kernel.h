// A kernel that CUDA lacks, run on the processor: its tensors cross the bus both ways. Slow, and no graph can hold it.
#pragma once
#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak::cuda {

// Not for kernels that exchange with peers. Throws Unsupported where the processor has no such kernel either.
std::unique_ptr<Kernel> make_host_kernel(const NodeSpec& spec);

}  // namespace merak::cuda
