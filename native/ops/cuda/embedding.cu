// MerakEmbedding and its gradient, which sums rows of one id in the order of their positions.
#include "device/intrinsics.cuh"
#include "device/reduce.cuh"
#include "device/step.cuh"

// A warp for each id.
extern "C" __global__ void embedding(const float* __restrict__ table, const int* __restrict__ ids, float* __restrict__ out, i64 num_ids,
                                     int num_rows, int width, int offset, int sharded, MerakStep* step) {
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x & 31;
  if (i >= num_ids) return;
  const i64 row = (i64)ids[i] - offset;
  const bool is_there = row >= 0 && row < num_rows;
  if (!is_there && !sharded && lane == 0) note_outside(step, ids[i], num_rows);
  const float* from = table + row * width;
  float* to = out + i * width;
  if (width % 4 == 0)
    for (int c = lane * 4; c < width; c += 128) store4(to + c, is_there ? load4(from + c) : make_float4(0, 0, 0, 0));
  else
    for (int c = lane; c < width; c += 32) to[c] = is_there ? from[c] : 0.0f;
}

// Positions in chunks of kChunk, each sorted by (row, position): a bitonic sort in shared memory. A key is the row, then the place in
// the chunk; rows that the table lacks come last.
constexpr int kChunk = 1024, kThreads = 256;

extern "C" __global__ void __launch_bounds__(kThreads) sort_ids(const int* __restrict__ ids, u64* __restrict__ sorted, i64 num_ids, int num_rows, int offset) {
  __shared__ u64 keys[kChunk];
  const i64 first = (i64)blockIdx.x * kChunk;
  for (int i = threadIdx.x; i < kChunk; i += kThreads) {
    const i64 row = first + i < num_ids ? (i64)ids[first + i] - offset : -1;
    keys[i] = (u64)(row >= 0 && row < num_rows ? (u32)row : 0xffffffffu) << 32 | (u32)i;
  }
  for (int size = 2; size <= kChunk; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < kChunk / 2; i += kThreads) {
        const int low = i / step * step * 2 + i % step, high = low + step;
        const bool rises = (low & size) == 0;
        const u64 a = keys[low], b = keys[high];
        if ((a > b) == rises) {
          keys[low] = b;
          keys[high] = a;
        }
      }
    }
  __syncthreads();
  for (int i = threadIdx.x; i < kChunk; i += kThreads) sorted[first + i] = keys[i];
}

// The first place of a sorted chunk whose key is not below `key`.
__device__ inline int lower_bound(const u64* __restrict__ chunk, u64 key) {
  int low = 0, high = kChunk;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (chunk[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

// A block for each place of the sorted chunks; the one that holds a row's first position sums all of them, chunk after chunk.
extern "C" __global__ void embedding_grad(const float* __restrict__ dy, const u64* __restrict__ sorted, float* __restrict__ gradient,
                                          int num_chunks, int width) {
  __shared__ int begins[kThreads], ends[kThreads];
  const int chunk = blockIdx.x / kChunk, place = blockIdx.x % kChunk;
  const u64* own = sorted + (i64)chunk * kChunk;
  const u64 row = own[place] >> 32;
  if (row == 0xffffffffu || (place > 0 && own[place - 1] >> 32 == row)) return;
  // Whether an earlier chunk has the row.
  int is_earlier = 0;
  for (int c = threadIdx.x; c < chunk; c += blockDim.x) {
    const u64* other = sorted + (i64)c * kChunk;
    const int at = lower_bound(other, row << 32);
    is_earlier |= at < kChunk && other[at] >> 32 == row;
  }
  __shared__ int is_taken;
  if (threadIdx.x == 0) is_taken = 0;
  __syncthreads();
  if (is_earlier) is_taken = 1;
  __syncthreads();
  if (is_taken) return;
  float* to = gradient + (i64)row * width;
  for (int base = chunk; base < num_chunks; base += blockDim.x) {
    const int c = base + threadIdx.x;
    __syncthreads();
    begins[threadIdx.x] = ends[threadIdx.x] = 0;
    if (c < num_chunks) {
      const u64* other = sorted + (i64)c * kChunk;
      begins[threadIdx.x] = lower_bound(other, row << 32);
      ends[threadIdx.x] = lower_bound(other, (row + 1) << 32);
    }
    __syncthreads();
    const int count = min((int)blockDim.x, num_chunks - base);
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
      float sum = to[column];
      for (int k = 0; k < count; k++) {
        const u64* keys = sorted + (i64)(base + k) * kChunk;
        for (int i = begins[k]; i < ends[k]; i++) sum += dy[((i64)(base + k) * kChunk + (u32)keys[i]) * width + column];
      }
      to[column] = sum;
    }
  }
}
