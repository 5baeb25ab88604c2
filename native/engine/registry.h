// Looking kernels up and compiling one node.
#pragma once
#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak {

// The kernel of one node. Throws Unsupported when the engine has none for it, std::runtime_error for bad attributes; both name
// the kernel, its input types and its scope.
std::unique_ptr<Kernel> compile_kernel(const NodeSpec& spec);

// "BatchMatMul(a: float32[1,2,3], b: float32[1,3,4]) in block0/mlp", for messages.
std::string describe(const NodeSpec& spec);

}  // namespace merak
