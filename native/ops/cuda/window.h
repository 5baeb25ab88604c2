// The geometry of ops/cpu/window.h as kernels on the card take it.
#pragma once
#include <limits>  // int

#include "ops/cpu/window.h"
#include "ops/cuda/device/window.cuh"  // MerakWindow
#include "ops/cuda/launch.h"

namespace merak::cuda {

inline MerakWindow device_window(const Window& from, int64_t channels) {
  MerakWindow w{};
  const auto narrow = [](int64_t x) {
    require(x >= 0 && x < (int64_t{1} << 24), "a spatial dim is too large");
    return static_cast<int>(x);
  };
  for (size_t d = 0; d < 3; d++) {
    w.in[d] = narrow(from.in[d]);
    w.out[d] = narrow(from.out[d]);
    w.filter[d] = narrow(from.filter[d]);
    w.stride[d] = narrow(from.stride[d]);
    w.dilation[d] = narrow(from.dilation[d]);
    w.before[d] = narrow(from.before[d]);
  }
  w.channels = static_cast<int>(channels);
  require(from.in_pixels() < std::numeric_limits<int>::max() && from.out_pixels() < std::numeric_limits<int>::max(), "too many pixels");
  return w;
}

}  // namespace merak::cuda
