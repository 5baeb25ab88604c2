// Max and average pooling and their gradients. X, Y: number types of max_pool; LAST: of equal maxima the last one gets the gradient.
#include "device/elementwise.cuh"
#include "device/window.cuh"

__device__ inline i64 in_pixels(const MerakWindow& w) { return (i64)w.in[0] * w.in[1] * w.in[2]; }
__device__ inline i64 out_pixels(const MerakWindow& w) { return (i64)w.out[0] * w.out[1] * w.out[2]; }

// A thread an element of y. NaN is ignored, as tfjs does; a window outside gives -infinity, of integers 0.
extern "C" __global__ void max_pool(const X* __restrict__ x, Y* __restrict__ y, MerakWindow w, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const i64 batch = take_apart((u64)i / w.channels, w.out, place);
  const X* from = x + batch * in_pixels(w) * w.channels + i % w.channels;
  X kept = X(0);
  bool any = false;
  for_inputs(w, place, [&](int, int pixel) {
    const X value = from[(i64)pixel * w.channels];
    if (any ? value > kept : (float)value > -MERAK_INFINITY) {
      kept = value;
      any = true;
    }
  });
  if (any) y[i] = (Y)kept;
  else write_number<float>(y, i, -MERAK_INFINITY);
}

// The place of the maximum among the input's pixels, -1 for none.
extern "C" __global__ void max_pool_winner(const float* __restrict__ x, int* __restrict__ winner, MerakWindow w, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const i64 batch = take_apart((u64)i / w.channels, w.out, place);
  const float* from = x + batch * in_pixels(w) * w.channels + i % w.channels;
  float top = -MERAK_INFINITY;
  int best = -1;
  for_inputs(w, place, [&](int, int pixel) {
    const float value = from[(i64)pixel * w.channels];
    if (LAST ? value >= top : value > top) {
      top = value;
      best = pixel;
    }
  });
  winner[i] = best;
}

// The maximum (NaN is ignored) and its place in its image, or in the batch; the first of equals; nothing gives -infinity at -1.
extern "C" __global__ void max_pool_with_place(const float* __restrict__ x, float* __restrict__ y, int* __restrict__ place, MerakWindow w, int in_batch, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 at;
  const int channel = (int)(i % w.channels);
  const i64 first = take_apart((u64)i / w.channels, w.out, at) * in_pixels(w);
  float top = -MERAK_INFINITY;
  i64 best = -1;
  for_inputs(w, at, [&](int, int pixel) {
    const float value = x[(first + pixel) * w.channels + channel];
    if (!(value > top)) return;
    top = value;
    best = ((in_batch ? first : 0) + pixel) * w.channels + channel;
  });
  y[i] = top;
  place[i] = (int)best;
}

// A thread an element of dx: what the windows over it send back, the first window first.
extern "C" __global__ void max_pool_grad(const float* __restrict__ dy, const int* __restrict__ winner, float* __restrict__ dx, MerakWindow w, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const int channel = (int)(i % w.channels);
  const i64 batch = take_apart((u64)i / w.channels, w.in, place), first = batch * out_pixels(w);
  const int own = (place.d[0] * w.in[1] + place.d[1]) * w.in[2] + place.d[2];
  float sum = 0;
  for_outputs(w, place, [&](int, int pixel) {
    const i64 at = (first + pixel) * w.channels + channel;
    if (winner[at] == own) sum += dy[at];
  });
  dx[i] = sum;
}

// The mean over the pixels inside the input, which count as `least` at least.
extern "C" __global__ void average_pool(const float* __restrict__ x, float* __restrict__ y, MerakWindow w, float least, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const i64 batch = take_apart((u64)i / w.channels, w.out, place);
  const float* from = x + batch * in_pixels(w) * w.channels + i % w.channels;
  float sum = 0, number = 0;
  for_inputs(w, place, [&](int, int pixel) {
    sum += from[(i64)pixel * w.channels];
    number += 1;
  });
  y[i] = sum / (number > least ? number : least);
}

// Each pixel of a window gets `share` of dy.
extern "C" __global__ void average_pool_grad(const float* __restrict__ dy, float* __restrict__ dx, MerakWindow w, float share, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Place3 place;
  const i64 batch = take_apart((u64)i / w.channels, w.in, place);
  const float* from = dy + batch * out_pixels(w) * w.channels + i % w.channels;
  float sum = 0;
  for_outputs(w, place, [&](int, int pixel) { sum += share * from[(i64)pixel * w.channels]; });
  dx[i] = sum;
}
