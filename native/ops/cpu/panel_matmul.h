// BatchMatMul and _FusedMatMul of few rows, by panels.
#pragma once
#include "engine/kernel.h"         // NodeSpec
#include "ops/cpu/matmul_plan.h"  // MatMulPlan

namespace merak {

// Whether this float32 product is quicker so than by oneDNN.
bool gains_by_panels(const NodeSpec& spec, const MatMulPlan& plan);
std::unique_ptr<Kernel> make_panel_matmul(const NodeSpec& spec, const MatMulPlan& plan);

}  // namespace merak
