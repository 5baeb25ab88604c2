// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): by what the loss is multiplied, so that gradients kept in float16 do not
// vanish. A step whose gradients overflow changes nothing but the scale.
#pragma once
#include <algorithm>  // max
#include <cstdint>    // counts

namespace merak {

// How a plan scales its loss. `interval` 0: not at all.
struct LossScalePlan {
  double initial = 1, growth = 2, backoff = 0.5;
  int64_t interval = 0;  // good steps in a row after which the scale grows
  bool is_on() const { return interval > 0; }
};

// Alike on every rank: all ranks' gradients decide together whether a step is good.
struct LossScaleState {
  double scale = 1;
  int64_t good_steps = 0;  // in a row, since the scale last changed
};

// Below it, what overflows is no longer the scale's doing.
constexpr double kLeastLossScale = 1;
// The largest power of two whose reciprocal float32 still holds with all its digits.
constexpr double kMostLossScale = 8.507059173023462e37;

inline LossScaleState after_step(const LossScalePlan& plan, LossScaleState state, bool overflowed) {
  if (overflowed) return {std::max(state.scale * plan.backoff, kLeastLossScale), 0};
  if (++state.good_steps < plan.interval) return state;
  return {std::min(state.scale * plan.growth, kMostLossScale), 0};
}

}  // namespace merak
