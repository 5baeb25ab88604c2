// Morphological dilation, the maximum over the window of x + filter, and its gradients, which go where the maximum was.
#include "device/reduce.cuh"
#include "device/window.cuh"

// What tfjs starts the maximum from.
#define MERAK_LOWEST (-9007199254740991.0)

__device__ inline i64 in_pixels(const MerakWindow& w) { return (i64)w.in[0] * w.in[1] * w.in[2]; }
__device__ inline i64 out_pixels(const MerakWindow& w) { return (i64)w.out[0] * w.out[1] * w.out[2]; }

// A thread an element of y: the maximum, or which filter place it came from (-1: none). The input's pixel follows from that.
template <class Keep>
__device__ inline void dilate(const float* x, const float* filter, const MerakWindow& w, i64 count, const Keep& keep) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const int channel = (int)(i % w.channels);
  const float* from = x + take_apart((u64)i / w.channels, w.out, place) * in_pixels(w) * w.channels + channel;
  double top = MERAK_LOWEST;
  int best = -1;
  for_inputs(w, place, [&](int tap, int pixel) {
    const double value = (double)from[(i64)pixel * w.channels] + filter[(i64)tap * w.channels + channel];
    if (!(value > top)) return;
    top = value;
    best = tap;
  });
  keep(i, top, best);
}
extern "C" __global__ void dilation(const float* __restrict__ x, const float* __restrict__ filter, float* __restrict__ y, MerakWindow w, i64 count) {
  dilate(x, filter, w, count, [&](i64 i, double top, int) { y[i] = (float)top; });
}
extern "C" __global__ void dilation_winner(const float* __restrict__ x, const float* __restrict__ filter, int* __restrict__ winner, MerakWindow w, i64 count) {
  dilate(x, filter, w, count, [&](i64 i, double, int best) { winner[i] = best; });
}

// A thread an element of dx: what the windows over it send back, the first window first.
extern "C" __global__ void dilation_input_grad(const float* __restrict__ dy, const int* __restrict__ winner, float* __restrict__ dx, MerakWindow w, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const i64 first = take_apart((u64)i / w.channels, w.in, place) * out_pixels(w);
  float sum = 0;
  for_outputs(w, place, [&](int tap, int pixel) {
    const i64 at = (first + pixel) * w.channels + i % w.channels;
    if (winner[at] == tap) sum += dy[at];
  });
  dx[i] = sum;
}

// A block an element of the filter's gradient, [places, channels]: `pixels` of the whole batch.
extern "C" __global__ void dilation_filter_grad(const float* __restrict__ dy, const int* __restrict__ winner, float* __restrict__ df, int channels, i64 pixels) {
  __shared__ float shared[33];
  const int tap = blockIdx.x / channels, channel = blockIdx.x % channels;
  float sum = 0;
  for (i64 p = threadIdx.x; p < pixels; p += blockDim.x)
    if (winner[p * channels + channel] == tap) sum += dy[p * channels + channel];
  sum = sum_over_block(sum, shared);
  if (threadIdx.x == 0) df[blockIdx.x] = sum;
}
