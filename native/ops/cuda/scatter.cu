// Rows of `updates` go to the rows of a tensor that ids name, in the order of their positions: added up, or the last of them kept
// (`assigns`). ELEMENT: the number type. Ids are sorted by (row, position) in chunks; one block does all updates of one row.
#include "device/sort.cuh"
#include "device/step.cuh"

__device__ inline float added(float a, float b) { return a + b; }
__device__ inline i32 added(i32 a, i32 b) { return (i32)((u32)a + (u32)b); }
__device__ inline u8 added(u8 a, u8 b) { return (u8)(a + b); }

// A key is the row, then the place in the chunk; rows that are not there come last.
extern "C" __global__ void __launch_bounds__(kSortThreads) sort_ids(const int* __restrict__ ids, u64* __restrict__ sorted, i64 num_ids, int num_rows, int offset) {
  __shared__ u64 keys[kChunk];
  const i64 first = (i64)blockIdx.x * kChunk;
  for (int i = threadIdx.x; i < kChunk; i += kSortThreads) {
    const i64 row = first + i < num_ids ? (i64)ids[first + i] - offset : -1;
    keys[i] = (u64)(row >= 0 && row < num_rows ? (u32)row : 0xffffffffu) << 32 | (u32)i;
  }
  sort_chunk(keys);
  for (int i = threadIdx.x; i < kChunk; i += kSortThreads) sorted[first + i] = keys[i];
}

// A block for each place of the sorted chunks; the one that holds a row's first position does all of them, chunk after chunk. One number
// may stand for all updates: `stride` between positions is 0 then, and `step` between columns.
extern "C" __global__ void scatter_rows(const ELEMENT* __restrict__ updates, const u64* __restrict__ sorted, ELEMENT* __restrict__ out, int num_chunks, i64 width, i64 stride,
                                        i64 step, int assigns) {
  __shared__ int begins[kSortThreads], ends[kSortThreads];
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
  ELEMENT* to = out + (i64)row * width;
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
    for (i64 column = threadIdx.x; column < width; column += blockDim.x) {
      ELEMENT sum = to[column];
      for (int k = 0; k < count; k++) {
        const u64* keys = sorted + (i64)(base + k) * kChunk;
        for (int i = assigns && ends[k] > begins[k] ? ends[k] - 1 : begins[k]; i < ends[k]; i++) {
          const ELEMENT update = updates[((i64)(base + k) * kChunk + (u32)keys[i]) * stride + column * step];
          sum = assigns ? update : added(sum, update);
        }
      }
      to[column] = sum;
    }
  }
}
