// Sums over rows: MerakColumnSum and the second half of what other kernels leave as parts. X: type of x; VECTOR: 4 or 1 columns a thread.
#include "device/numbers.cuh"

constexpr int kLanes = 32, kRowsAtOnce = 8;

// Blocks of 32 x 8 threads; block (i, p) sums rows [p piece, (p + 1) piece) of 32 VECTOR columns to parts[p]. Where there is one piece,
// parts is the result and `accumulate` adds to it.
extern "C" __global__ void column_sum(const X* __restrict__ x, float* __restrict__ parts, i64 num_rows, int width, i64 piece, int accumulate) {
  __shared__ float sums[kRowsAtOnce][kLanes * VECTOR + 4];
  const int lane = threadIdx.x % kLanes, turn = threadIdx.x / kLanes;
  const int column = (blockIdx.x * kLanes + lane) * VECTOR;
  const i64 end = min(num_rows, (i64)(blockIdx.y + 1) * piece);
  float sum[VECTOR] = {};
  if (column < width)
    for (i64 row = (i64)blockIdx.y * piece + turn; row < end; row += kRowsAtOnce) {
      if (VECTOR == 4) {
        const float4 four = load4(x + row * width + column);
        sum[0] += four.x;
        sum[1 % VECTOR] += four.y;
        sum[2 % VECTOR] += four.z;
        sum[3 % VECTOR] += four.w;
      } else {
        sum[0] += to_float(x[row * width + column]);
      }
    }
  for (int v = 0; v < VECTOR; v++) sums[turn][lane * VECTOR + v] = sum[v];
  __syncthreads();
  if (turn != 0 || column >= width) return;
  for (int v = 0; v < VECTOR; v++) {
    float* to = parts + (i64)blockIdx.y * width + column + v;
    float total = accumulate ? *to : 0.0f;
    for (int t = 0; t < kRowsAtOnce; t++) total += sums[t][lane * VECTOR + v];
    *to = total;
  }
}
