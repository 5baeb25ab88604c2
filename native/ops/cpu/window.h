// The geometry of a sliding window over up to three spatial dims, channels last: pooling and morphological dilation.
#pragma once
#include <array>  // three spatial dims

#include "ops/cpu/make_kernel.h"

namespace merak {

using Triple = std::array<int64_t, 3>;

// Two spatial dims are three with a leading one of size 1.
struct Window {
  int64_t batch = 0, channels = 0;
  Triple in{1, 1, 1}, out{1, 1, 1}, filter{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, before{0, 0, 0};

  // Filter positions [first, last) of output index `at` in spatial dim `d` that fall inside the input.
  void inside(size_t d, int64_t at, int64_t& first, int64_t& last) const {
    const int64_t corner = at * stride[d] - before[d];
    first = corner >= 0 ? 0 : (-corner + dilation[d] - 1) / dilation[d];
    const int64_t room = in[d] - corner;
    last = std::min(filter[d], room <= 0 ? 0 : (room + dilation[d] - 1) / dilation[d]);
  }
  int64_t in_index(size_t d, int64_t at, int64_t tap) const { return at * stride[d] - before[d] + tap * dilation[d]; }
  int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
  int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
};

// Reads strides, pad and dilations of `spec` for an input of shape `in` and an output of shape `out` ([batch, spatial..., channels])
// and a filter of `filter` (one number per spatial dim).
Window window_of(const NodeSpec& spec, const Shape& in, const Shape& out, const std::vector<int64_t>& filter);

// The filter size attribute of a pool, one number per spatial dim.
std::vector<int64_t> pool_filter(const NodeSpec& spec, size_t num_spatial);

// Calls tap(d0, d1, d2 as filter position, pixel) for every input pixel under output pixel (o0, o1, o2).
template <class Tap>
void for_taps(const Window& w, int64_t o0, int64_t o1, int64_t o2, const Tap& tap) {
  Triple first, last;
  w.inside(0, o0, first[0], last[0]);
  w.inside(1, o1, first[1], last[1]);
  w.inside(2, o2, first[2], last[2]);
  for (int64_t f0 = first[0]; f0 < last[0]; f0++)
    for (int64_t f1 = first[1]; f1 < last[1]; f1++)
      for (int64_t f2 = first[2]; f2 < last[2]; f2++)
        tap(f0, f1, f2, (w.in_index(0, o0, f0) * w.in[1] + w.in_index(1, o1, f1)) * w.in[2] + w.in_index(2, o2, f2));
}

}  // namespace merak
