// Convolutions as one product whose operands are found on the way (implicit GEMM), float32. DIRECTION: 0 forward, 1 gradient of the
// input, 2 gradient of the filter. A filter is [taps, in, out]; taps count its spatial places.
//   0: y  [pixels of y, out]     = x  at (pixel, tap, in)  [pixels, taps in]    times filter [taps in, out]
//   1: dx [pixels of x, in]      = dy at (pixel, tap, out) [pixels, taps out]   times filter [taps out, in]
//   2: df [taps in, out]         = x  at (tap in, pixel)   [taps in, pixels]    times dy [pixels, out]
#include "device/numbers.cuh"
#include "device/window.cuh"

constexpr int kRows = 128, kColumns = 64, kDepth = 16, kThreads = 256, kOwnRows = 8, kOwnColumns = 4;
constexpr int kFromA = kRows * kDepth / kThreads, kFromB = kColumns * kDepth / kThreads;

// A pixel of the side whose pixels are rows (or, for the filter's gradient, the summed dim).
struct Pixel {
  int at[3];  // where its window begins (0 and 2), or its place past the padding (1)
  int batch;  // -1: there is none
};

__device__ inline Pixel pixel_of(const MerakWindow& w, int i, int limit) {
  Pixel pixel;
  Place3 place;
  pixel.batch = i < limit ? take_apart((u32)i, DIRECTION == 1 ? w.in : w.out, place) : -1;
#pragma unroll
  for (int d = 0; d < 3; d++) pixel.at[d] = pixel.batch < 0 ? 0 : DIRECTION == 1 ? place.d[d] + w.before[d] : place.d[d] * w.stride[d] - w.before[d];
  return pixel;
}

struct Tap {
  int shift[3], channel;
};

// Tap and channel of number `i`, of `channels` each.
__device__ inline Tap tap_of(const MerakWindow& w, int i, int channels) {
  Tap tap;
  tap.channel = i % channels;
  Place3 place;
  take_apart((u32)(i / channels), w.filter, place);
#pragma unroll
  for (int d = 0; d < 3; d++) tap.shift[d] = place.d[d] * w.dilation[d];
  return tap;
}

// The element that a pixel and a tap meet in: of x, or of dy for direction 1; 0 where there is none.
__device__ inline float meet(const float* __restrict__ from, const MerakWindow& w, const Pixel& pixel, const Tap& tap, int channels) {
  if (pixel.batch < 0) return 0.0f;
  i64 index = pixel.batch;
#pragma unroll
  for (int d = 0; d < 3; d++) {
    const int size = DIRECTION == 1 ? w.out[d] : w.in[d];
    int at = DIRECTION == 1 ? pixel.at[d] - tap.shift[d] : pixel.at[d] + tap.shift[d];
    if (DIRECTION == 1 && w.stride[d] > 1) {
      if (at < 0 || at % w.stride[d] != 0) return 0.0f;
      at /= w.stride[d];
    }
    if (at < 0 || at >= size) return 0.0f;
    index = index * size + at;
  }
  return from[index * channels + tap.channel];
}

// Block (r, c, p) makes a tile of rows and columns from piece p of the summed dim, and writes it to out[p].
extern "C" __global__ void __launch_bounds__(kThreads) convolve(const float* __restrict__ first, const float* __restrict__ second, float* __restrict__ out,
                                                                MerakWindow w, int rows, int columns, int depth, int piece, int filters) {
  __shared__ float a[kDepth][kRows + 4];
  __shared__ float b[kDepth][kColumns + 4];
  __shared__ Pixel pixels[DIRECTION == 2 ? kDepth : kRows];
  const int thread = threadIdx.x, row0 = blockIdx.x * kRows, column0 = blockIdx.y * kColumns;
  const int begin = blockIdx.z * piece, end = min(depth, begin + piece);
  const int channels = DIRECTION == 1 ? filters : w.channels;  // of `first`
  // Threads read neighbours in memory: along the summed dim, but along the rows for the filter's gradient.
  const int own = DIRECTION == 2 ? thread % kRows : thread % kDepth, turn = DIRECTION == 2 ? thread / kRows : thread / kDepth;
  constexpr int kTurns = DIRECTION == 2 ? kThreads / kRows : kThreads / kDepth;
  if (DIRECTION != 2) {
    if (thread < kRows) pixels[thread] = pixel_of(w, row0 + thread, rows);
    __syncthreads();
  }
  Tap tap;
  if (DIRECTION == 2) tap = tap_of(w, row0 + own < rows ? row0 + own : 0, channels);
  float sums[kOwnRows][kOwnColumns] = {};
  float next_a[kFromA], next_b[kFromB];

  const auto read = [&](int k0) {
    if (DIRECTION == 2) {
      __syncthreads();  // the last use of the pixels
      if (thread < kDepth) pixels[thread] = pixel_of(w, k0 + thread, end);
      __syncthreads();
    } else {
      tap = tap_of(w, k0 + own < end ? k0 + own : 0, channels);
    }
#pragma unroll
    for (int i = 0; i < kFromA; i++) {
      const bool is_there = DIRECTION == 2 ? row0 + own < rows : k0 + own < end;
      next_a[i] = is_there ? meet(first, w, pixels[turn + kTurns * i], tap, channels) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kFromB; i++) {
      // The filter lies [tap, in, out]: for direction 1 its neighbours are along the summed dim.
      const int k = DIRECTION == 1 ? thread % kDepth : thread / kColumns + kThreads / kColumns * i;
      const int column = DIRECTION == 1 ? thread / kDepth + kThreads / kDepth * i : thread % kColumns;
      const int at = k0 + k, c = column0 + column;
      next_b[i] = 0.0f;
      if (at < end && c < columns) next_b[i] = DIRECTION == 1 ? second[((i64)(at / filters) * columns + c) * filters + at % filters] : second[(i64)at * columns + c];
    }
  };

  read(begin);
  for (int k0 = begin; k0 < end; k0 += kDepth) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kFromA; i++) {
      const int other = turn + kTurns * i;
      if (DIRECTION == 2) a[other][own] = next_a[i];
      else a[own][other] = next_a[i];
    }
#pragma unroll
    for (int i = 0; i < kFromB; i++) {
      if (DIRECTION == 1) b[thread % kDepth][thread / kDepth + kThreads / kDepth * i] = next_b[i];
      else b[thread / kColumns + kThreads / kColumns * i][thread % kColumns] = next_b[i];
    }
    __syncthreads();
    if (k0 + kDepth < end) read(k0 + kDepth);
#pragma unroll
    for (int k = 0; k < kDepth; k++) {
      float x[kOwnRows], y[kOwnColumns];
#pragma unroll
      for (int i = 0; i < kOwnRows; i++) x[i] = a[k][thread / 16 * kOwnRows + i];
#pragma unroll
      for (int j = 0; j < kOwnColumns; j++) y[j] = b[k][thread % 16 * kOwnColumns + j];
#pragma unroll
      for (int i = 0; i < kOwnRows; i++)
#pragma unroll
        for (int j = 0; j < kOwnColumns; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
  }
  float* to = out + (i64)blockIdx.z * rows * columns;
#pragma unroll
  for (int i = 0; i < kOwnRows; i++)
#pragma unroll
    for (int j = 0; j < kOwnColumns; j++) {
      const int row = row0 + thread / 16 * kOwnRows + i, column = column0 + thread % 16 * kOwnColumns + j;
      if (row < rows && column < columns) to[(i64)row * columns + column] = sums[i][j];
    }
}
