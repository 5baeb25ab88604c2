// A node as a CUDA kernel.
#pragma once
#include <memory>  // ownership

#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak {

namespace cuda {
class Device;
}

// Throws Unsupported naming the node when the CUDA engine has no such kernel or cannot do this one; the contract is the CPU's.
std::unique_ptr<Kernel> compile_cuda_kernel(const NodeSpec& spec, cuda::Device& device);

}  // namespace merak
