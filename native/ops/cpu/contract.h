// What a kernel's tensors must be to one another, checked before the kernel is made: kernels trust sizes, plans may be malformed.
#pragma once
#include "engine/kernel.h"  // NodeSpec

namespace merak {

// Throws Unsupported or std::runtime_error saying what does not fit. docs/kernels.md has the contracts in words; what a kernel's own
// factory checks (window geometry, products, joins) is not repeated here.
void check_contract(const NodeSpec& spec);

}  // namespace merak
