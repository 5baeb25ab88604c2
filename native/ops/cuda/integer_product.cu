// Products of int32 matrices, modulo 2^32: a thread an element, tiles of 16 x 16 through shared memory. Batch dims by strides, in matrices.
#include "device/numbers.cuh"

constexpr int kTile = 16;

struct Batch {
  int rank;
  i64 sizes[6], a[6], b[6];
};

extern "C" __global__ void __launch_bounds__(kTile* kTile) integer_product(const u32* __restrict__ a, const u32* __restrict__ b, u32* __restrict__ c, Batch batch, int m, int n,
                                                                          int k) {
  __shared__ u32 left[kTile][kTile + 1], right[kTile][kTile + 1];
  const int across = threadIdx.x % kTile, down = threadIdx.x / kTile, row = blockIdx.y * kTile + down, column = blockIdx.x * kTile + across;
  i64 rest = blockIdx.z;
  for (int d = batch.rank - 1; d >= 0; d--) {
    a += rest % batch.sizes[d] * batch.a[d] * m * k;
    b += rest % batch.sizes[d] * batch.b[d] * k * n;
    rest /= batch.sizes[d];
  }
  u32 sum = 0;
  for (int base = 0; base < k; base += kTile) {
    const int x = base + across, y = base + down;
    left[down][across] = row < m && x < k ? (TRANSPOSE_A ? a[(i64)x * m + row] : a[(i64)row * k + x]) : 0u;
    right[down][across] = column < n && y < k ? (TRANSPOSE_B ? b[(i64)column * k + y] : b[(i64)y * n + column]) : 0u;
    __syncthreads();
    for (int i = 0; i < kTile; i++) sum += left[down][i] * right[i][across];
    __syncthreads();
  }
  if (row < m && column < n) c[((i64)blockIdx.z * m + row) * n + column] = sum;
}
