// Image resizing, bilinear and nearest neighbour, with gradients: the exact transposes of the forward maps. Images are
// [batch, height, width, channels]; BILINEAR 1 or 0.
#include "device/numbers.cuh"

struct Resize {
  int small_height, small_width, big_height, big_width, channels, align_corners, half_pixel_centers;
};

// Where row (or column) i of `to` comes from among `from`: low (1 - fraction) + high fraction, as tfjs has it.
struct Source {
  int low, high;
  double fraction;
};

__device__ inline Source source_of(int i, int from, int to, const Resize& r) {
  const bool aligned = r.align_corners && to > 1;
  const double ratio = (double)(aligned ? from - 1 : from) / (double)(aligned ? to - 1 : to);
  // Rounded before anything is added: a fused operation could tip what lies half-way.
  double at = __dmul_rn(ratio, i);
  if (BILINEAR) {
    if (r.half_pixel_centers) at = __dmul_rn(ratio, i + 0.5) - 0.5;
    const double low = fmin((double)(from - 1), fmax(0.0, floor(at))), high = fmin((double)(from - 1), ceil(at));
    return {(int)low, (int)fmax(0.0, high), at - low};
  }
  if (r.half_pixel_centers) at = __dmul_rn(ratio, i + 0.5);
  // JavaScript's Math.round: halves go up.
  const double nearest = r.align_corners ? floor(at + 0.5) : floor(at);
  const int index = (int)fmax(0.0, fmin((double)(from - 1), nearest));
  return {index, index, 0};
}

// A thread an element of the resized image.
extern "C" __global__ void resize(const float* __restrict__ x, float* __restrict__ y, Resize r, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int channel = (int)(i % r.channels);
  i64 rest = i / r.channels;
  const Source column = source_of((int)(rest % r.big_width), r.small_width, r.big_width, r);
  rest /= r.big_width;
  const Source row = source_of((int)(rest % r.big_height), r.small_height, r.big_height, r);
  const float* image = x + rest / r.big_height * r.small_height * r.small_width * r.channels + channel;
  const auto at = [&](int y_at, int x_at) { return image[((i64)y_at * r.small_width + x_at) * r.channels]; };
  const float across = (float)column.fraction, down = (float)row.fraction;
  const float top = at(row.low, column.low) + (at(row.low, column.high) - at(row.low, column.low)) * across;
  const float bottom = at(row.high, column.low) + (at(row.high, column.high) - at(row.high, column.low)) * across;
  y[i] = top + (bottom - top) * down;
}

// The first of `to` whose source reaches index `at` from below, or the first past it: sources rise.
__device__ inline int first_of(int at, int from, int to, const Resize& r, bool past) {
  int low = 0, high = to;
  while (low < high) {
    const int middle = (low + high) / 2;
    const Source source = source_of(middle, from, to, r);
    if (past ? source.low <= at : source.high < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What index `at` gives to a resized index that comes from `source`.
__device__ inline float share_of(int at, const Source& source) {
  return (source.low == at ? 1.0f - (float)source.fraction : 0.0f) + (source.high == at ? (float)source.fraction : 0.0f);
}

// A thread an element of the image's gradient: the resized rows and columns that it gave something to, in order.
extern "C" __global__ void resize_grad(const float* __restrict__ dy, float* __restrict__ dx, Resize r, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int channel = (int)(i % r.channels);
  i64 rest = i / r.channels;
  const int column = (int)(rest % r.small_width);
  rest /= r.small_width;
  const int row = (int)(rest % r.small_height);
  const float* from = dy + rest / r.small_height * r.big_height * r.big_width * r.channels + channel;
  const int rows_end = first_of(row, r.small_height, r.big_height, r, true), columns_begin = first_of(column, r.small_width, r.big_width, r, false);
  const int columns_end = first_of(column, r.small_width, r.big_width, r, true);
  float sum = 0;
  for (int y = first_of(row, r.small_height, r.big_height, r, false); y < rows_end; y++) {
    const float down = share_of(row, source_of(y, r.small_height, r.big_height, r));
    for (int x = columns_begin; x < columns_end; x++)
      sum += from[((i64)y * r.big_width + x) * r.channels] * down * share_of(column, source_of(x, r.small_width, r.big_width, r));
  }
  dx[i] = sum;
}
