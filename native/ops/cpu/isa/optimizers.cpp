// Optimizer updates over spans (formulas: docs/kernels.md), the norm's sum of squares, and scans for non-finite values.
#include "ops/cpu/isa/optimizers.h"

#define restrict __restrict__

namespace merak::MERAK_ISA {

void sgd(float* restrict p, const float* restrict g, float lr, float scale, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] -= lr * (g[i] * scale);
}

void momentum(float* restrict p, const float* restrict g, float* restrict a, float lr, float scale, float momentum,
              bool nesterov, size_t n) {
  if (nesterov) {
    for (size_t i = 0; i < n; i++) {
      const float grad = g[i] * scale;
      a[i] = momentum * a[i] + grad;
      p[i] -= lr * (grad + momentum * a[i]);
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      a[i] = momentum * a[i] + g[i] * scale;
      p[i] -= lr * a[i];
    }
  }
}

void rmsprop(float* restrict p, const float* restrict g, float* restrict s, float* restrict mom, float* restrict mg,
             const RmsPropStep& step, size_t n) {
  const float keep = step.decay, take = step.take;
  if (mg) {
    for (size_t i = 0; i < n; i++) {
      const float grad = g[i] * step.scale;
      s[i] = keep * s[i] + take * grad * grad;
      mg[i] = keep * mg[i] + take * grad;
      mom[i] = step.momentum * mom[i] + step.lr * grad / __builtin_sqrtf(s[i] - mg[i] * mg[i] + step.epsilon);
      p[i] -= mom[i];
    }
  } else {
    for (size_t i = 0; i < n; i++) {
      const float grad = g[i] * step.scale;
      s[i] = keep * s[i] + take * grad * grad;
      mom[i] = step.momentum * mom[i] + step.lr * grad / __builtin_sqrtf(s[i] + step.epsilon);
      p[i] -= mom[i];
    }
  }
}

void adam(float* restrict p, const float* restrict g, float* restrict m, float* restrict v, const AdamStep& step, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float grad = g[i] * step.scale;
    const float m1 = step.beta1 * m[i] + step.take1 * grad;
    const float v1 = step.beta2 * v[i] + step.take2 * (grad * grad);
    m[i] = m1;
    v[i] = v1;
    p[i] = p[i] * step.decay_factor - step.lr * (m1 * step.correction1) / (__builtin_sqrtf(v1 * step.correction2) + step.epsilon);
  }
}

// Sixteen partial sums in a fixed order, whatever the instruction set.
double sum_of_squares(const float* x, size_t n) {
  double lanes[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int lane = 0; lane < 16; lane++) lanes[lane] += static_cast<double>(x[i + lane]) * x[i + lane];
  for (; i < n; i++) lanes[i % 16] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

bool has_nan(const float* x, size_t n) {
  int found = 0;
  for (size_t i = 0; i < n; i++) found |= x[i] != x[i];
  return found != 0;
}

bool all_finite(const float* x, size_t n) {
  int found = 0;
  for (size_t i = 0; i < n; i++) found |= !(x[i] - x[i] == 0.0f);
  return found == 0;
}

}  // namespace merak::MERAK_ISA
