// What surrounds a convolution of cuDNN: images in larger or smaller frames, transposed filters, both from one number type (FROM) to another
// (TO). VECTOR: 4 or 1 channels a thread.
#include "device/numbers.cuh"
#include "device/window.cuh"

// Place p of an image is place p + before of its frame; what the image has not is 0, what the frame has not is left out.
struct Frame {
  int image[3], frame[3], before[3], channels;
};

extern "C" __global__ void frame(const FROM* __restrict__ x, TO* __restrict__ y, Frame f, u32 count) {
  const u32 i = (blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
  if (i >= count) return;
  const u32 channel = i % (u32)f.channels;
  Place3 place;
  i64 from = take_apart(i / (u32)f.channels, f.frame, place);
  bool is_inside = true;
#pragma unroll
  for (int d = 0; d < 3; d++) {
    const int at = place.d[d] - f.before[d];
    is_inside = is_inside && at >= 0 && at < f.image[d];
    from = from * f.image[d] + at;
  }
  from = from * f.channels + channel;
  if (VECTOR == 4) store4(y + i, is_inside ? load4(x + from) : make_float4(0.0f, 0.0f, 0.0f, 0.0f));
  else y[i] = Number<TO>::from(is_inside ? to_float(x[from]) : 0.0f);
}

// [rows, columns] to [columns, rows] through shared memory, so that both sides are read along their rows.
extern "C" __global__ void turn(const FROM* __restrict__ x, TO* __restrict__ y, int rows, int columns) {
  __shared__ float tile[32][33];
  const int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  for (int r = part; r < 32; r += 8) {
    const int row = blockIdx.y * 32 + r, column = blockIdx.x * 32 + lane;
    if (row < rows && column < columns) tile[r][lane] = to_float(x[(i64)row * columns + column]);
  }
  __syncthreads();
  for (int r = part; r < 32; r += 8) {
    const int row = blockIdx.x * 32 + r, column = blockIdx.y * 32 + lane;  // of the result
    if (row < columns && column < rows) y[(i64)row * rows + column] = Number<TO>::from(tile[lane][r]);
  }
}
