// Moving elements: strided copies, rounding to 16 bits, adding. ELEMENT: u8, u16, u32, uint2 or uint4.
#include "device/numbers.cuh"

// Dims from the outermost in; strides in elements.
struct StridedCopy {
  int num_dims;
  u32 sizes[8];
  i64 from[8], to[8];
};

extern "C" __global__ void strided_copy(const ELEMENT* __restrict__ x, ELEMENT* __restrict__ y, StridedCopy copy, i64 count) {
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (i64)gridDim.x * blockDim.x) {
    i64 rest = i, from = 0, to = 0;
    for (int d = copy.num_dims - 1; d > 0; d--) {
      // 32-bit division is several times faster.
      const u32 size = copy.sizes[d];
      const i64 next = rest >> 32 ? rest / size : (i64)((u32)rest / size);
      const i64 index = rest - next * size;
      from += index * copy.from[d];
      to += index * copy.to[d];
      rest = next;
    }
    y[to + rest * copy.to[0]] = x[from + rest * copy.from[0]];
  }
}

// [batches, rows, columns] to [batches, columns, rows] through shared memory, so that both sides are read along their rows.
extern "C" __global__ void transpose(const ELEMENT* __restrict__ x, ELEMENT* __restrict__ y, int rows, int columns) {
  __shared__ ELEMENT tile[32][33];
  const i64 batch = (i64)blockIdx.z * rows * columns;
  const int lane = threadIdx.x % 32, turn = threadIdx.x / 32;
  for (int r = turn; r < 32; r += 8) {
    const int row = blockIdx.y * 32 + r, column = blockIdx.x * 32 + lane;
    if (row < rows && column < columns) tile[r][lane] = x[batch + (i64)row * columns + column];
  }
  __syncthreads();
  for (int r = turn; r < 32; r += 8) {
    const int row = blockIdx.x * 32 + r, column = blockIdx.y * 32 + lane;  // of the result
    if (row < columns && column < rows) y[batch + (i64)row * rows + column] = tile[lane][r];
  }
}
