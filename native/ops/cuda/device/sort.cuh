// Keys sorted in chunks of kChunk, in shared memory, by a block of kSortThreads.
#pragma once
#include "chunk.cuh"
#include "numbers.cuh"

constexpr int kSortThreads = 256;

// A bitonic sort; begins and ends with a barrier.
__device__ inline void sort_chunk(u64* keys) {
  for (int size = 2; size <= kChunk; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < kChunk / 2; i += kSortThreads) {
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
