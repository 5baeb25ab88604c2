// Loops of batch normalisation over channels-last values. Whatever belongs to a channel is given `width` times, a multiple of the
// number of channels, and element i takes number i % width of it; so are sums left.
#pragma once
#include <cstddef>  // size_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

// channel_sums: sum += x. channel_squares: sum += (x - mean)^2.
// channel_normalise: y = (x - mean) scale + offset, plus `residual` unless that is null, and at least 0 where `relu`.
// channel_grad_sums: sum += d, product += d (x - mean), where d is dy, or 0 where y is not positive; y may be null.
// channel_grad: dx = slope (d - shift - (x - mean) tilt); `dresidual`, unless null, gets d.
MERAK_ISA_DECLARE(
  void channel_sums(const float* x, float* sum, size_t n, size_t width);
  void channel_squares(const float* x, const float* mean, float* sum, size_t n, size_t width);
  void channel_normalise(const float* x, const float* residual, const float* mean, const float* scale, const float* offset, bool relu,
                         float* y, size_t n, size_t width);
  void channel_grad_sums(const float* dy, const float* y, const float* x, const float* mean, float* sum, float* product, size_t n,
                         size_t width);
  void channel_grad(const float* dy, const float* y, const float* x, const float* mean, const float* slope, const float* shift,
                    const float* tilt, float* dx, float* dresidual, size_t n, size_t width);
)
