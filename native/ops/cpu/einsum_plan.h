// What Einsum comes down to, for the processor and for cards.
#pragma once
#include <optional>  // copies
#include <variant>   // either

#include "ops/cpu/layout_plan.h"  // LayoutCopy

namespace merak {

// One batched product, with copies that put operands and result in order only where the order of dims asks for them.
struct EinsumProduct {
  NodeSpec product;  // BatchMatMul
  std::optional<LayoutCopy> left, right, back;
};

// Any number of operands, repeated labels, labels summed within one operand: strides by operand, along the output's dims and along the
// dims summed over.
struct EinsumSum {
  Shape outer_sizes, inner_sizes;
  std::vector<Shape> outer_strides, inner_strides;
};
constexpr size_t kMostEinsumOperands = 4;

// Throws Unsupported for an equation that does not fit.
std::variant<EinsumProduct, EinsumSum> plan_einsum(const NodeSpec& spec);

}  // namespace merak
