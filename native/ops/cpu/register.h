// All CPU kernels, by family.
#pragma once

namespace merak {

// Fills the kernel table; called once by engine/registry.cpp.
void register_cpu_kernels();

}  // namespace merak
