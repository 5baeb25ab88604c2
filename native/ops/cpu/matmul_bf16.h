// Matrix products with bfloat16 operands and float32 sums.
#pragma once
#include <memory>    // std::unique_ptr
#include <optional>  // narrow operands

#include "engine/kernel.h"  // Kernel, NodeSpec

namespace merak {

// The 16-bit type that a product's operands are rounded to: that of an operand, or what `precision` says ('bf16', 'f16') of one product of
// two matrices. Nothing where it multiplies in float32.
std::optional<DType> narrow_operands(const NodeSpec& spec);
inline bool multiplies_in_bf16(const NodeSpec& spec) { return narrow_operands(spec) == DType::bf16; }

// BatchMatMul or _FusedMatMul without activation, for which multiplies_in_bf16 holds. Operands and results are float32 or bfloat16.
// Beside `bias`: inputs `residual` and `point`, attribute `gelu`, a second output (docs/kernels.md). Throws Unsupported.
std::unique_ptr<Kernel> make_bf16_matmul(const NodeSpec& spec);

}  // namespace merak
