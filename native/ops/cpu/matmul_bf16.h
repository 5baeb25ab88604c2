// Matrix products with bfloat16 operands and float32 sums.
#pragma once
#include <memory>  // std::unique_ptr

#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak {

// Whether an operand is bfloat16, or the node says `precision: 'bf16'` and is one product of two matrices.
bool multiplies_in_bf16(const NodeSpec& spec);

// BatchMatMul or _FusedMatMul without activation, for which multiplies_in_bf16 holds. Operands and results are float32 or bfloat16.
// Beside `bias`: inputs `residual` and `point`, attribute `gelu`, a second output (docs/kernels.md). Throws Unsupported.
std::unique_ptr<Kernel> make_bf16_matmul(const NodeSpec& spec);

}  // namespace merak
