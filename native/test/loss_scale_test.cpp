// How a loss scale moves: it grows after good steps in a row, backs off after an overflow, and keeps within what float32 can take back.
#include "engine/loss_scale.h"

#include "test/check.h"

namespace merak::test {
namespace {

constexpr LossScalePlan kPlan{1024, 2, 0.5, 3};

LossScaleState after(LossScaleState state, int good_steps) {
  for (int i = 0; i < good_steps; i++) state = after_step(kPlan, state, false);
  return state;
}

TEST("loss scale: grows after that many good steps in a row, and counts anew") {
  const LossScaleState two = after({1024, 0}, 2), three = after({1024, 0}, 3);
  CHECK(two.scale == 1024 && two.good_steps == 2);
  CHECK(three.scale == 2048 && three.good_steps == 0);
}

TEST("loss scale: an overflow backs off and forgets the good steps") {
  const LossScaleState state = after_step(kPlan, after({1024, 0}, 2), true);
  CHECK(state.scale == 512 && state.good_steps == 0);
  CHECK(after(state, 2).scale == 512 && after(state, 3).scale == 1024);
}

TEST("loss scale: neither falls below one nor grows past what float32 takes back") {
  CHECK(after_step(kPlan, {1, 0}, true).scale == kLeastLossScale);
  CHECK(after_step(kPlan, {1.5, 0}, true).scale == kLeastLossScale);
  const LossScaleState most = after({kMostLossScale, 0}, 3);
  CHECK(most.scale == kMostLossScale);
  CHECK(1 / static_cast<float>(most.scale) * static_cast<float>(most.scale) == 1);
}

}  // namespace
}  // namespace merak::test
