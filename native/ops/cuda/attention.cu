// Attention forward on the tensor cores (Dao 2023, FlashAttention-2): one pass over the keys, softmax rescaled as it goes.
// T: bf16 or f16; OUT: type of `out`; DEPTH: head size rounded up to 16; ROW_TILES: times 16 queries a warp; KEYS: keys of a tile;
// CAUSAL, MASKED: 0 or 1.
#include "device/attention.cuh"

constexpr int kWarps = 4, kThreads = 32 * kWarps, kQueries = kWarps * 16 * ROW_TILES;
constexpr int kRow = Tile<DEPTH>::kRow;

// Grid: blocks of queries, heads, sequences. Shared memory: the queries, twice a tile of keys and one of values.
extern "C" __global__ void __launch_bounds__(kThreads) attention(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                                                                 OUT* __restrict__ out, float* __restrict__ logsumexp, AttentionShape shape) {
  unsigned char* shared = dynamic_shared();
  T* queries = (T*)shared;
  T* keys = queries + kQueries * kRow;  // [2][KEYS]
  T* values = keys + 2 * KEYS * kRow;   // [2][KEYS]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  // The last queries see most keys: they go first.
  const int first = (gridDim.x - 1 - blockIdx.x) * kQueries, head = blockIdx.y, sequence = blockIdx.z;
  const int shift = shape.num_keys - shape.num_queries;
  const T* q_head = q + head_offset(shape, sequence, head, shape.num_queries, shape.q_row);
  const T* k_head = k + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const T* v_head = v + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const int* mask = MASKED ? shape.mask + (i64)sequence * shape.num_keys : nullptr;
  int limit = shape.num_keys;  // keys that any query of the block sees
  if (CAUSAL) limit = min(limit, min(first + kQueries, shape.num_queries) + shift);
  const int num_tiles = limit <= 0 ? 0 : (limit + KEYS - 1) / KEYS;

  load_tile<kQueries, DEPTH, kThreads>(queries, q_head, first, shape.num_queries, shape.depth, shape.q_row);
  if (num_tiles > 0) {
    load_tile<KEYS, DEPTH, kThreads>(keys, k_head, 0, limit, shape.depth, shape.k_row);
    load_tile<KEYS, DEPTH, kThreads>(values, v_head, 0, limit, shape.depth, shape.k_row);
  }
  commit_copies();

  float sums[ROW_TILES][DEPTH / 8][4] = {};
  float highest[ROW_TILES][2], totals[ROW_TILES][2];
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
    for (int half = 0; half < 2; half++) {
      highest[t][half] = -MERAK_INFINITY;
      totals[t][half] = 0;
    }
  const float scale = shape.scale * kLog2E;
  const int own = first + warp * 16 * ROW_TILES + lane / 4;  // this lane's first query

  for (int tile = 0; tile < num_tiles; tile++) {
    const int stage = tile & 1, at = tile * KEYS;
    if (tile + 1 < num_tiles) {
      load_tile<KEYS, DEPTH, kThreads>(keys + (stage ^ 1) * KEYS * kRow, k_head, at + KEYS, limit, shape.depth, shape.k_row);
      load_tile<KEYS, DEPTH, kThreads>(values + (stage ^ 1) * KEYS * kRow, v_head, at + KEYS, limit, shape.depth, shape.k_row);
    }
    commit_copies();
    await_copies<1>();
    __syncthreads();

    float scores[ROW_TILES][KEYS / 8][4] = {};
#pragma unroll
    for (int c = 0; c < DEPTH; c += 16) {
      u32 a[ROW_TILES][4];
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) left_fragment<DEPTH>(a[t], queries, (warp * ROW_TILES + t) * 16, c);
#pragma unroll
      for (int n = 0; n < KEYS; n += 16) {
        u32 b[4];
        right_fragments_transposed<DEPTH>(b, keys + stage * KEYS * kRow, n, c);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++) {
          mma_16816<T>(scores[t][n / 8], a[t], b);
          mma_16816<T>(scores[t][n / 8 + 1], a[t], b + 2);
        }
      }
    }

    // Only the last tiles hold keys that some query does not see.
    const bool is_partial = MASKED || at + KEYS > limit || (CAUSAL && at + KEYS > first + shift + 1);
#pragma unroll
    for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int query = own + t * 16 + half * 8;
        float top = highest[t][half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float& score = scores[t][n][half * 2 + e];
            score *= scale;
            if (is_partial) {
              const int key = at + n * 8 + (lane & 3) * 2 + e;
              const bool is_seen = key < limit && (!CAUSAL || key <= query + shift) && (!MASKED || mask[key] != 0);
              score = is_seen ? score : -MERAK_INFINITY;
            }
            top = fmaxf(top, score);
          }
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        const float subtract = top == -MERAK_INFINITY ? 0.0f : top;
        const float shrink = exp2f(highest[t][half] - subtract);
        highest[t][half] = top;
        float total = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float& score = scores[t][n][half * 2 + e];
            score = exp2f(score - subtract);
            total += score;
          }
        totals[t][half] = totals[t][half] * shrink + total;
#pragma unroll
        for (int n = 0; n < DEPTH / 8; n++) {
          sums[t][n][half * 2] *= shrink;
          sums[t][n][half * 2 + 1] *= shrink;
        }
      }

#pragma unroll
    for (int n = 0; n < KEYS; n += 16) {
      u32 a[ROW_TILES][4];
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) as_left<T>(a[t], scores[t][n / 8], scores[t][n / 8 + 1]);
#pragma unroll
      for (int c = 0; c < DEPTH; c += 16) {
        u32 b[4];
        right_fragments<DEPTH>(b, values + stage * KEYS * kRow, n, c);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++) {
          mma_16816<T>(sums[t][c / 8], a[t], b);
          mma_16816<T>(sums[t][c / 8 + 1], a[t], b + 2);
        }
      }
    }
    __syncthreads();  // before the next tile takes this one's place
  }
  await_copies<0>();

#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = totals[t][half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const int query = own + t * 16 + half * 8;
      if (query >= shape.num_queries) continue;
      const float factor = total == 0.0f ? 0.0f : 1.0f / total;
      if ((lane & 3) == 0)
        logsumexp[((i64)sequence * shape.num_heads + head) * shape.num_queries + query] =
            total == 0.0f ? -MERAK_INFINITY : (highest[t][half] + log2f(total)) * kLn2;
      OUT* row = out + head_offset(shape, sequence, head, shape.num_queries, shape.out_row) + (i64)query * shape.out_row;
#pragma unroll
      for (int n = 0; n < DEPTH / 8; n++) {
        const int column = n * 8 + (lane & 3) * 2;
        if (column < shape.depth) store2(row + column, sums[t][n][half * 2] * factor, sums[t][n][half * 2 + 1] * factor);
      }
    }
}
