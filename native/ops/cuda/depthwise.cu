// Depthwise convolutions: channel c of the input makes channels c multiplier ... of the output. A filter is [taps, in, multiplier].
#include "device/numbers.cuh"
#include "device/window.cuh"

// A thread an element of y.
extern "C" __global__ void depthwise(const float* __restrict__ x, const float* __restrict__ filter, float* __restrict__ y, MerakWindow w, int multiplier, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int made = w.channels * multiplier, channel = (int)(i % made);
  Place3 place;
  const i64 batch = take_apart((u64)i / made, w.out, place);
  const float* from = x + batch * w.in[0] * w.in[1] * w.in[2] * w.channels + channel / multiplier;
  float sum = 0;
  for_inputs(w, place, [&](int tap, int pixel) { sum = fmaf(from[(i64)pixel * w.channels], filter[(i64)tap * made + channel], sum); });
  y[i] = sum;
}

// A thread an element of dx.
extern "C" __global__ void depthwise_input_grad(const float* __restrict__ dy, const float* __restrict__ filter, float* __restrict__ dx, MerakWindow w, int multiplier,
                                                i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int made = w.channels * multiplier, channel = (int)(i % w.channels);
  Place3 place;
  const i64 batch = take_apart((u64)i / w.channels, w.in, place);
  const float* from = dy + batch * w.out[0] * w.out[1] * w.out[2] * made + channel * multiplier;
  float sum = 0;
  for_outputs(w, place, [&](int tap, int pixel) {
    for (int m = 0; m < multiplier; m++) sum = fmaf(from[(i64)pixel * made + m], filter[(i64)tap * made + channel * multiplier + m], sum);
  });
  dx[i] = sum;
}

// Block (c, tap, p) of 32 x 8 threads sums piece p of the pixels for 32 channels of the filter, to df[p, tap].
extern "C" __global__ void depthwise_filter_grad(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ df, MerakWindow w, int multiplier,
                                                 i64 pixels, i64 piece) {
  __shared__ float parts[8][33];
  const int lane = threadIdx.x % 32, turn = threadIdx.x / 32, made = w.channels * multiplier, channel = blockIdx.x * 32 + lane;
  const i64 begin = (i64)blockIdx.z * piece, end = min(pixels, begin + piece);
  Place3 tap;
  take_apart((u32)blockIdx.y, w.filter, tap);
  float sum = 0;
  if (channel < made)
    for (i64 p = begin + turn; p < end; p += 8) {
      Place3 place;
      i64 index = take_apart((u64)p, w.out, place);
      bool is_inside = true;
      for (int d = 0; d < 3; d++) {
        const int at = place.d[d] * w.stride[d] - w.before[d] + tap.d[d] * w.dilation[d];
        is_inside = is_inside && at >= 0 && at < w.in[d];
        index = index * w.in[d] + at;
      }
      if (is_inside) sum = fmaf(x[index * w.channels + channel / multiplier], dy[p * made + channel], sum);
    }
  parts[turn][lane] = sum;
  __syncthreads();
  if (turn != 0 || channel >= made) return;
  for (int t = 1; t < 8; t++) sum += parts[t][lane];
  df[((i64)blockIdx.z * gridDim.y + blockIdx.y) * made + channel] = sum;
}
