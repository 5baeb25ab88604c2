// A small plan, whole: two micro-batches of a linear model trained by momentum, every kind of space and instruction of one rank.
#pragma once
#include "engine/engine.h"  // RankPlan, Executable

namespace merak::test {

constexpr int64_t kWidth = 5;

// loss = sum(x * w) + c, c a constant; w one trainable parameter. `dp` ranks bring the same.
RankPlan small_plan(int rank, int dp);
Executable small_executable();

// One to three fields changed to what no planner would write; the same for the same seed.
void mutate(RankPlan& plan, Executable& executable, uint32_t seed);

}  // namespace merak::test
