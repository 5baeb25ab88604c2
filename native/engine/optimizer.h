// The end of a training step: the global gradient norm and the optimizer's update of every trainable parameter.
#pragma once
#include <cstddef>  // std::byte

#include "engine/program.h"  // RankPlan

namespace merak {

// Sum of squares of this rank's gradients that count in the norm, in double, in a fixed order.
double local_square_sum(const RankPlan& plan, const std::byte* persistent);

// One update of all trainable parameters. `updates` counts this one; `scale` multiplies gradients (clipping).
void update_parameters(const RankPlan& plan, std::byte* persistent, double learning_rate, int64_t updates, double scale);

}  // namespace merak
