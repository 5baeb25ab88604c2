// The loops of isa/batch_norm.h.
#include "ops/cpu/isa/batch_norm.h"

#include "ops/cpu/isa/math.inl"  // fma_

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

// Calls body(first element, length) for every run of up to `width` elements.
template <class Body>
[[gnu::always_inline]] inline void each_run(size_t n, size_t width, const Body& body) {
  size_t at = 0;
  for (; at + width <= n; at += width) body(at, width);
  if (at < n) body(at, n - at);
}

// The gradient that passes a relu whose result was y; NaN stays NaN.
[[gnu::always_inline]] inline float passed(float dy, float y) { return y > 0 ? dy : y <= 0 ? 0.0f : y; }

template <bool adds, bool relu>
void normalise(const float* restrict x, const float* restrict residual, const float* restrict mean, const float* restrict scale,
               const float* restrict offset, float* restrict y, size_t n, size_t width) {
  each_run(n, width, [&](size_t at, size_t length) {
    for (size_t i = 0; i < length; i++) {
      float value = fma_(x[at + i] - mean[i], scale[i], offset[i]);
      if (adds) value += residual[at + i];
      y[at + i] = relu && value < 0 ? 0.0f : value;
    }
  });
}

template <bool masks>
void grad_sums(const float* restrict dy, const float* restrict y, const float* restrict x, const float* restrict mean,
               float* restrict sum, float* restrict product, size_t n, size_t width) {
  each_run(n, width, [&](size_t at, size_t length) {
    for (size_t i = 0; i < length; i++) {
      const float d = masks ? passed(dy[at + i], y[at + i]) : dy[at + i];
      sum[i] += d;
      product[i] = fma_(d, x[at + i] - mean[i], product[i]);
    }
  });
}

template <bool masks, bool passes>
void grad(const float* restrict dy, const float* restrict y, const float* restrict x, const float* restrict mean,
          const float* restrict slope, const float* restrict shift, const float* restrict tilt, float* restrict dx,
          float* restrict dresidual, size_t n, size_t width) {
  each_run(n, width, [&](size_t at, size_t length) {
    for (size_t i = 0; i < length; i++) {
      const float d = masks ? passed(dy[at + i], y[at + i]) : dy[at + i];
      dx[at + i] = slope[i] * (d - shift[i] - (x[at + i] - mean[i]) * tilt[i]);
      if (passes) dresidual[at + i] = d;
    }
  });
}

}  // namespace

void channel_sums(const float* restrict x, float* restrict sum, size_t n, size_t width) {
  each_run(n, width, [&](size_t at, size_t length) {
    for (size_t i = 0; i < length; i++) sum[i] += x[at + i];
  });
}

void channel_squares(const float* restrict x, const float* restrict mean, float* restrict sum, size_t n, size_t width) {
  each_run(n, width, [&](size_t at, size_t length) {
    for (size_t i = 0; i < length; i++) {
      const float deviation = x[at + i] - mean[i];
      sum[i] = fma_(deviation, deviation, sum[i]);
    }
  });
}

void channel_normalise(const float* x, const float* residual, const float* mean, const float* scale, const float* offset, bool relu,
                       float* y, size_t n, size_t width) {
  const auto loop = residual ? (relu ? normalise<true, true> : normalise<true, false>)
                             : (relu ? normalise<false, true> : normalise<false, false>);
  loop(x, residual, mean, scale, offset, y, n, width);
}

void channel_grad_sums(const float* dy, const float* y, const float* x, const float* mean, float* sum, float* product, size_t n,
                       size_t width) {
  (y ? grad_sums<true> : grad_sums<false>)(dy, y, x, mean, sum, product, n, width);
}

void channel_grad(const float* dy, const float* y, const float* x, const float* mean, const float* slope, const float* shift,
                  const float* tilt, float* dx, float* dresidual, size_t n, size_t width) {
  const auto loop = dresidual ? (y ? grad<true, true> : grad<false, true>) : (y ? grad<true, false> : grad<false, false>);
  loop(dy, y, x, mean, slope, shift, tilt, dx, dresidual, n, width);
}

}  // namespace merak::MERAK_ISA
