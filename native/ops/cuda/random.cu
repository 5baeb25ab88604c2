// MerakDropout and MerakRandom: Philox4x32-10 (Salmon et al., SC'11) by global element index (docs/kernels.md, "Random numbers").
#include "device/numbers.cuh"
#include "device/step.cuh"

// The local piece as runs of consecutive global indices: run r begins at the index that its digits in `shape` (outer dims) give, with
// `offsets` added and the micro-batch's start in dim `batch_dim` (-1: none).
struct Region {
  int num_dims, batch_dim;
  i64 run_length, num_runs;
  i64 shape[8], global[8], offsets[8];
  i64 batch_extent;
  i64 batches_before;  // of other replicas: dp index times the number of micro-batches
  u32 node;
};

__device__ inline u64 run_start(const Region& region, i64 run, int micro) {
  i64 index[8];
  for (int d = region.num_dims - 2; d >= 0; d--) {
    index[d] = run % region.shape[d];
    run /= region.shape[d];
  }
  index[region.num_dims - 1] = 0;
  i64 start = 0;
  for (int d = 0; d < region.num_dims; d++) {
    i64 at = region.offsets[d] + index[d];
    if (d == region.batch_dim) at += (region.batches_before + micro) * region.batch_extent;
    start = start * region.global[d] + at;
  }
  return (u64)start;
}

struct Words {
  u32 word[4];
};
__device__ inline Words philox(u64 seed, u32 step, u32 node, u64 block) {
  u32 c0 = (u32)block, c1 = (u32)(block >> 32), c2 = step, c3 = node, k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0, high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Calls body(local element, words of its block, place in the block) for this thread's block of four global indices, in grid-sized strides.
template <class Body>
__device__ inline void over_region(const Region& region, const MerakStep* step, const Body& body) {
  // A run of n elements touches at most n / 4 + 2 blocks.
  const i64 blocks = region.run_length / 4 + 2, total = region.num_runs * blocks;
  for (i64 task = (i64)blockIdx.x * blockDim.x + threadIdx.x; task < total; task += (i64)gridDim.x * blockDim.x) {
    const i64 run = task / blocks;
    const u64 start = run_start(region, run, step->micro), block = start / 4 + (u64)(task % blocks);
    const i64 first = (i64)(block * 4) - (i64)start;  // in the run, of the block's first element
    if (first >= region.run_length) continue;
    const Words words = philox(step->seed, step->step, region.node, block);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (first + i >= 0 && first + i < region.run_length) body(run * region.run_length + first + i, words, i);
  }
}

// `residual` (or null) is added to what is kept.
extern "C" __global__ void dropout(const float* __restrict__ x, const float* __restrict__ residual, float* __restrict__ y, Region region, u32 threshold, float scale,
                                   const MerakStep* step) {
  over_region(region, step, [&](i64 i, const Words& words, int place) {
    const float kept = x[i] * ((words.word[place] >> 8) >= threshold ? scale : 0.0f);
    y[i] = residual ? kept + residual[i] : kept;
  });
}

__device__ inline double uniform_of(u32 word) { return (word >> 8) * (1.0 / 16777216.0); }

extern "C" __global__ void random_uniform(float* __restrict__ y, Region region, double low, double high, const MerakStep* step) {
  over_region(region, step, [&](i64 i, const Words& words, int place) { y[i] = (float)(low + (high - low) * uniform_of(words.word[place])); });
}

// Box and Muller 1958, pairs inside a block.
extern "C" __global__ void random_normal(float* __restrict__ y, Region region, double mean, double deviation, const MerakStep* step) {
  over_region(region, step, [&](i64 i, const Words& words, int place) {
    const double radius = sqrt(-2.0 * log(uniform_of(words.word[place & 2]) + 1.0 / 33554432.0));
    const double angle = 6.283185307179586 * uniform_of(words.word[(place & 2) + 1]);
    const float normal = (float)(radius * (place & 1 ? sin(angle) : cos(angle)));
    y[i] = (float)(mean + deviation * (double)normal);
  });
}
