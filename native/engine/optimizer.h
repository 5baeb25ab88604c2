// The end of a training step: the global gradient norm and the optimizer's update of every trainable parameter.
#pragma once
#include <cstddef>  // std::byte

#include "engine/program.h"  // RankPlan

namespace merak {

// By how many ranks the same gradients are brought to the norm: every data-parallel replica has them all. Said of this rank's own sum: one
// without gradients cannot know whether others have theirs in pieces.
inline double replicas_in_norm(const RankPlan& plan) { return plan.shards_optimizer() ? 1 : plan.dp; }

// Sum of squares of this rank's gradients that count in the norm, in double, in a fixed order.
double local_square_sum(const RankPlan& plan, const std::byte* persistent);

// One update of all trainable parameters. `updates` counts this one; `scale` multiplies gradients (clipping).
void update_parameters(const RankPlan& plan, std::byte* persistent, double learning_rate, int64_t updates, double scale);

}  // namespace merak
