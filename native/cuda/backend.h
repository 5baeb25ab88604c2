// A CUDA device as a backend.
#pragma once
#include <memory>  // ownership

#include "cuda/device.h"     // Device
#include "engine/backend.h"  // Backend
#include "engine/compile.h"  // KernelMaker

namespace merak::cuda {

// Engines of one process on one card may share a device only if one thread drives them.
std::unique_ptr<Backend> make_cuda_backend(std::shared_ptr<Device> device);

// A node's kernel on the device; the processor's where CUDA has none for it, which is told `lacks` (the node, and why).
std::unique_ptr<Kernel> make_kernel_on(const NodeSpec& spec, Device& device, const std::function<void(const std::string&)>& lacks);

}  // namespace merak::cuda
