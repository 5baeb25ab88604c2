// Sums and maxima over a warp and over a block, the same in every thread and always in the same order.
#pragma once
#include "numbers.cuh"

constexpr u32 kAllLanes = 0xffffffffu;

template <class T>
struct SumOf {
  __device__ static T identity() { return T(0); }
  __device__ static T join(T a, T b) { return a + b; }
};
// NaN wins, as in JavaScript.
struct MaxOf {
  __device__ static float identity() { return -MERAK_INFINITY; }
  __device__ static float join(float a, float b) { return a > b || a != a ? a : b; }
};

template <class Op, class T>
__device__ inline T over_warp(T x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits >>= 1) x = Op::join(x, __shfl_xor_sync(kAllLanes, x, bits));
  return x;
}

// `shared` holds a T for each warp and one more; the block has at most 32 warps, all of 32 threads.
template <class Op, class T>
__device__ inline T over_block(T x, T* shared) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, num_warps = blockDim.x >> 5;
  x = over_warp<Op>(x);
  __syncthreads();  // the last use of `shared`
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  if (warp == 0) {
    x = over_warp<Op>(lane < num_warps ? shared[lane] : Op::identity());
    if (lane == 0) shared[num_warps] = x;
  }
  __syncthreads();
  return shared[num_warps];
}
template <class T>
__device__ inline T sum_over_block(T x, T* shared) {
  return over_block<SumOf<T>>(x, shared);
}
__device__ inline float max_over_block(float x, float* shared) { return over_block<MaxOf>(x, shared); }
