// The geometry of a sliding window over three spatial dims, channels last: convolutions and pooling. Read by host and device code alike.
#pragma once

struct MerakWindow {
  int in[3], out[3], filter[3], stride[3], dilation[3], before[3];
  int channels;  // of the input
};

#if defined(__CUDACC__) || defined(MERAK_EMULATION)
struct Place3 {
  int d[3];
};

// A number of [batch, size...] taken apart; returns the batch.
template <class Unsigned>
__device__ inline int take_apart(Unsigned rest, const int* size, Place3& place) {
#pragma unroll
  for (int d = 2; d >= 0; d--) {
    place.d[d] = (int)(rest % (unsigned)size[d]);
    rest /= (unsigned)size[d];
  }
  return (int)rest;
}

// Calls tap(filter place, input pixel) for the input pixels under output pixel `o`, in order.
template <class Tap>
__device__ inline void for_inputs(const MerakWindow& w, const Place3& o, const Tap& tap) {
  for (int f0 = 0; f0 < w.filter[0]; f0++) {
    const int i0 = o.d[0] * w.stride[0] - w.before[0] + f0 * w.dilation[0];
    if (i0 < 0 || i0 >= w.in[0]) continue;
    for (int f1 = 0; f1 < w.filter[1]; f1++) {
      const int i1 = o.d[1] * w.stride[1] - w.before[1] + f1 * w.dilation[1];
      if (i1 < 0 || i1 >= w.in[1]) continue;
      for (int f2 = 0; f2 < w.filter[2]; f2++) {
        const int i2 = o.d[2] * w.stride[2] - w.before[2] + f2 * w.dilation[2];
        if (i2 >= 0 && i2 < w.in[2]) tap((f0 * w.filter[1] + f1) * w.filter[2] + f2, (i0 * w.in[1] + i1) * w.in[2] + i2);
      }
    }
  }
}

// Where along dim `d` the window stands whose filter place f lies on input index i, or -1.
__device__ inline int window_at(const MerakWindow& w, int d, int i, int f) {
  const int from = i + w.before[d] - f * w.dilation[d];
  if (from < 0 || from % w.stride[d] != 0) return -1;
  const int o = from / w.stride[d];
  return o < w.out[d] ? o : -1;
}

// Calls tap(filter place, output pixel) for the output pixels whose window covers input pixel `i`, the first output first.
template <class Tap>
__device__ inline void for_outputs(const MerakWindow& w, const Place3& i, const Tap& tap) {
  for (int f0 = w.filter[0] - 1; f0 >= 0; f0--) {
    const int o0 = window_at(w, 0, i.d[0], f0);
    if (o0 < 0) continue;
    for (int f1 = w.filter[1] - 1; f1 >= 0; f1--) {
      const int o1 = window_at(w, 1, i.d[1], f1);
      if (o1 < 0) continue;
      for (int f2 = w.filter[2] - 1; f2 >= 0; f2--) {
        const int o2 = window_at(w, 2, i.d[2], f2);
        if (o2 >= 0) tap((f0 * w.filter[1] + f1) * w.filter[2] + f2, (o0 * w.out[1] + o1) * w.out[2] + o2);
      }
    }
  }
}
#endif
