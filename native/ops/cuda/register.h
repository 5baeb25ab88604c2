// The CUDA kernels: the same Kernel interface as the CPU's (engine/kernel.h). Pointers are device pointers, and `run` only enqueues on
// RunContext::stream.
#pragma once
#include <string>  // names
#include <vector>  // names

#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak {

namespace cuda {
class Device;
}

using CudaKernelFactory = std::unique_ptr<Kernel> (*)(const NodeSpec&, cuda::Device&);

// nullptr when the CUDA engine has no such kernel.
CudaKernelFactory find_cuda_kernel(const std::string& name);
std::vector<std::string> cuda_kernel_names();

// Called by the files of ops/cuda.
void register_cuda_kernel(const std::string& name, CudaKernelFactory factory);

}  // namespace merak
