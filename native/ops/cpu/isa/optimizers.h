// Optimizer updates over spans: parameter, gradient and moments in one pass each.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

// `scale` multiplies the gradient first (clipping). `decay_factor` is 1 - lr * weightDecay (1: none).
struct AdamStep {
  float lr, beta1, beta2, epsilon, scale, decay_factor;
  float take1, take2;              // 1 - beta, rounded once
  float correction1, correction2;  // 1 / (1 - beta^t)
};
struct RmsPropStep {
  float lr, decay, take, momentum, epsilon, scale;  // take: 1 - decay, rounded once
};

}  // namespace merak

MERAK_ISA_DECLARE(
  void sgd(float* p, const float* g, float lr, float scale, size_t n);
  void momentum(float* p, const float* g, float* a, float lr, float scale, float momentum, bool nesterov, size_t n);
  void rmsprop(float* p, const float* g, float* s, float* mom, float* mg, const RmsPropStep& step, size_t n);
  void adam(float* p, const float* g, float* m, float* v, const AdamStep& step, size_t n);
  double sum_of_squares(const float* x, size_t n);
  bool has_nan(const float* x, size_t n);
  bool all_finite(const float* x, size_t n);)
