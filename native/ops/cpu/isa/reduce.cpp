// The loops of isa/reduce.h.
#include "ops/cpu/isa/reduce.h"

#include "ops/cpu/isa/math.inl"  // exp_, log_

namespace merak::MERAK_ISA {
namespace {

struct Sum {
  static float of(float a, float b) { return a + b; }
};
struct Prod {
  static float of(float a, float b) { return a * b; }
};
struct Max {
  static float of(float a, float b) { return (a > b) | (a != a) ? a : b; }
};
struct Min {
  static float of(float a, float b) { return (a < b) | (a != a) ? a : b; }
};

// Independent lanes, then a tree over them: short chains keep rounding small and the pipeline full.
template <class Op, size_t kLanes>
float reduce_lanes(const float* __restrict x, size_t n) {
  float lanes[kLanes];
  for (size_t l = 0; l < kLanes; l++) lanes[l] = x[l];
  size_t i = kLanes;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t l = 0; l < kLanes; l++) lanes[l] = Op::of(lanes[l], x[i + l]);
  for (size_t l = 0; i + l < n; l++) lanes[l] = Op::of(lanes[l], x[i + l]);
  for (size_t width = kLanes / 2; width > 0; width /= 2)
    for (size_t l = 0; l < width; l++) lanes[l] = Op::of(lanes[l], lanes[l + width]);
  return lanes[0];
}

template <class Op>
float reduce(const float* __restrict x, size_t n) {
  if (n >= 64) return reduce_lanes<Op, 64>(x, n);
  if (n >= 16) return reduce_lanes<Op, 16>(x, n);
  float total = x[0];
  for (size_t i = 1; i < n; i++) total = Op::of(total, x[i]);
  return total;
}

template <class Op>
void accumulate(const float* __restrict x, float* __restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = Op::of(y[i], x[i]);
}

}  // namespace

float reduce_sum(const float* x, size_t n) { return reduce<Sum>(x, n); }
float reduce_prod(const float* x, size_t n) { return reduce<Prod>(x, n); }
float reduce_max(const float* x, size_t n) { return reduce<Max>(x, n); }
float reduce_min(const float* x, size_t n) { return reduce<Min>(x, n); }
void accumulate_sum(const float* x, float* y, size_t n) { accumulate<Sum>(x, y, n); }
void accumulate_prod(const float* x, float* y, size_t n) { accumulate<Prod>(x, y, n); }
void accumulate_max(const float* x, float* y, size_t n) { accumulate<Max>(x, y, n); }
void accumulate_min(const float* x, float* y, size_t n) { accumulate<Min>(x, y, n); }

void softmax_row(const float* __restrict x, float* __restrict y, size_t n) {
  const float top = reduce<Max>(x, n);
  for (size_t i = 0; i < n; i++) y[i] = exp_(x[i] - top);
  const float scale = 1.0f / reduce<Sum>(y, n);
  for (size_t i = 0; i < n; i++) y[i] *= scale;
}

void log_softmax_row(const float* __restrict x, float* __restrict y, size_t n) {
  const float top = reduce<Max>(x, n);
  for (size_t i = 0; i < n; i++) y[i] = exp_(x[i] - top);
  const float shift = log_(reduce<Sum>(y, n));
  for (size_t i = 0; i < n; i++) y[i] = x[i] - top - shift;
}

void scale_shift(const float* __restrict x, const float* __restrict mean, const float* __restrict scale,
                 const float* __restrict offset, float* __restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = fma_(x[i] - mean[i], scale[i], offset[i]);
}

}  // namespace merak::MERAK_ISA
