// Attention backward on the tensor cores, without atomics: every block owns its rows and goes over the columns in order.
// With ROWS_ARE_KEYS rows are keys, columns queries, and dk and dv come out; else rows are queries, columns keys, and dq comes out.
// Scores of both are computed again from the logsumexp. T: bf16 or f16; OUT: type of the gradients; DEPTH: head size rounded up to 16;
// ROW_TILES: times 16 rows a warp; COLUMNS: of a tile; CAUSAL, MASKED: 0 or 1.
#include "device/attention.cuh"

constexpr int kWarps = 4, kThreads = 32 * kWarps, kRows = kWarps * 16 * ROW_TILES;
constexpr int kRow = Tile<DEPTH>::kRow;

// Grid: blocks of rows, heads, sequences. Shared memory: both left operands, twice a tile of both right operands, and for keys as rows
// twice the logsumexp and delta of a tile. `delta` is the sum of dy out over the depth; `first_gradient` dq or dk, `second_gradient` dv.
extern "C" __global__ void __launch_bounds__(kThreads) attention_grad(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                                                                      const T* __restrict__ dy, const float* __restrict__ logsumexp,
                                                                      const float* __restrict__ delta, OUT* __restrict__ first_gradient,
                                                                      OUT* __restrict__ second_gradient, AttentionShape shape) {
  unsigned char* shared = dynamic_shared();
  T* left = (T*)shared;               // q or k
  T* left_slope = left + kRows * kRow;  // dy or v
  T* right = left_slope + kRows * kRow;        // [2][COLUMNS], k or q
  T* right_slope = right + 2 * COLUMNS * kRow;  // [2][COLUMNS], v or dy
  float* column_statistics = (float*)(right_slope + 2 * COLUMNS * kRow);  // [2][2][COLUMNS]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int head = blockIdx.y, sequence = blockIdx.z;
  const int first = (ROWS_ARE_KEYS ? blockIdx.x : gridDim.x - 1 - blockIdx.x) * kRows;
  const int shift = shape.num_keys - shape.num_queries;
  const T* q_head = q + head_offset(shape, sequence, head, shape.num_queries, shape.q_row);
  const T* k_head = k + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const T* v_head = v + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const T* dy_head = dy + head_offset(shape, sequence, head, shape.num_queries, shape.out_row);
  const int* mask = MASKED ? shape.mask + (i64)sequence * shape.num_keys : nullptr;
  const i64 statistics = ((i64)sequence * shape.num_heads + head) * shape.num_queries;
  const T* right_head = ROWS_ARE_KEYS ? q_head : k_head;
  const T* right_slope_head = ROWS_ARE_KEYS ? dy_head : v_head;
  const int right_row = ROWS_ARE_KEYS ? shape.q_row : shape.k_row, right_slope_row = ROWS_ARE_KEYS ? shape.out_row : shape.k_row;
  const int num_rows = ROWS_ARE_KEYS ? shape.num_keys : shape.num_queries;

  // Columns that take part: queries that see the first key, keys that the last query sees.
  int begin = 0, end = ROWS_ARE_KEYS ? shape.num_queries : shape.num_keys;
  if (CAUSAL && ROWS_ARE_KEYS) begin = max(0, first - shift) / COLUMNS * COLUMNS;
  if (CAUSAL && !ROWS_ARE_KEYS) end = min(end, min(first + kRows, shape.num_queries) + shift);
  const int num_tiles = end <= begin ? 0 : (end - begin + COLUMNS - 1) / COLUMNS;

  const auto load_columns = [&](int stage, int at) {
    load_tile<COLUMNS, DEPTH, kThreads>(right + stage * COLUMNS * kRow, right_head, at, end, shape.depth, right_row);
    load_tile<COLUMNS, DEPTH, kThreads>(right_slope + stage * COLUMNS * kRow, right_slope_head, at, end, shape.depth, right_slope_row);
    if (ROWS_ARE_KEYS)
      for (int i = threadIdx.x; i < COLUMNS; i += kThreads) {
        const bool is_there = at + i < end;
        column_statistics[stage * 2 * COLUMNS + i] = is_there ? logsumexp[statistics + at + i] : -MERAK_INFINITY;
        column_statistics[stage * 2 * COLUMNS + COLUMNS + i] = is_there ? delta[statistics + at + i] : 0.0f;
      }
  };

  load_tile<kRows, DEPTH, kThreads>(left, ROWS_ARE_KEYS ? k_head : q_head, first, num_rows, shape.depth, ROWS_ARE_KEYS ? shape.k_row : shape.q_row);
  load_tile<kRows, DEPTH, kThreads>(left_slope, ROWS_ARE_KEYS ? v_head : dy_head, first, num_rows, shape.depth,
                                    ROWS_ARE_KEYS ? shape.k_row : shape.out_row);
  if (num_tiles > 0) load_columns(0, begin);
  commit_copies();

  const int own = first + warp * 16 * ROW_TILES + lane / 4;  // this lane's first row
  float row_lse[ROW_TILES][2], row_delta[ROW_TILES][2];
  bool row_kept[ROW_TILES][2];
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = own + t * 16 + half * 8;
      const bool is_there = row < num_rows;
      row_lse[t][half] = !ROWS_ARE_KEYS && is_there ? logsumexp[statistics + row] : -MERAK_INFINITY;
      row_delta[t][half] = !ROWS_ARE_KEYS && is_there ? delta[statistics + row] : 0.0f;
      row_kept[t][half] = is_there && (!ROWS_ARE_KEYS || !MASKED || mask[row] != 0);
    }

  float first_sums[ROW_TILES][DEPTH / 8][4] = {};
  float second_sums[ROW_TILES][ROWS_ARE_KEYS ? DEPTH / 8 : 1][4] = {};
  const float scale = shape.scale * kLog2E;

  for (int tile = 0; tile < num_tiles; tile++) {
    const int stage = tile & 1, at = begin + tile * COLUMNS;
    if (tile + 1 < num_tiles) load_columns(stage ^ 1, at + COLUMNS);
    commit_copies();
    await_copies<1>();
    __syncthreads();

    float scores[ROW_TILES][COLUMNS / 8][4] = {}, slopes[ROW_TILES][COLUMNS / 8][4] = {};
#pragma unroll
    for (int c = 0; c < DEPTH; c += 16) {
      u32 a[ROW_TILES][4], a_slope[ROW_TILES][4];
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) {
        left_fragment<DEPTH>(a[t], left, (warp * ROW_TILES + t) * 16, c);
        left_fragment<DEPTH>(a_slope[t], left_slope, (warp * ROW_TILES + t) * 16, c);
      }
#pragma unroll
      for (int n = 0; n < COLUMNS; n += 16) {
        u32 b[4], b_slope[4];
        right_fragments_transposed<DEPTH>(b, right + stage * COLUMNS * kRow, n, c);
        right_fragments_transposed<DEPTH>(b_slope, right_slope + stage * COLUMNS * kRow, n, c);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++) {
          mma_16816<T>(scores[t][n / 8], a[t], b);
          mma_16816<T>(scores[t][n / 8 + 1], a[t], b + 2);
          mma_16816<T>(slopes[t][n / 8], a_slope[t], b_slope);
          mma_16816<T>(slopes[t][n / 8 + 1], a_slope[t], b_slope + 2);
        }
      }
    }

    // To the weights (in `scores`) and the gradient of the scores (in `slopes`).
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int in_tile = n * 8 + (lane & 3) * 2 + e, column = at + in_tile;
        const float column_lse = ROWS_ARE_KEYS ? column_statistics[stage * 2 * COLUMNS + in_tile] : 0.0f;
        const float column_delta = ROWS_ARE_KEYS ? column_statistics[stage * 2 * COLUMNS + COLUMNS + in_tile] : 0.0f;
        const bool column_kept = column < end && (ROWS_ARE_KEYS || !MASKED || mask[column] != 0);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const int row = own + t * 16 + half * 8;
            const int query = ROWS_ARE_KEYS ? column : row, key = ROWS_ARE_KEYS ? row : column;
            const float lse = ROWS_ARE_KEYS ? column_lse : row_lse[t][half];
            const bool is_seen = column_kept && row_kept[t][half] && (!CAUSAL || key <= query + shift) && lse != -MERAK_INFINITY;
            float &score = scores[t][n][half * 2 + e], &slope = slopes[t][n][half * 2 + e];
            const float weight = is_seen ? exp2f(score * scale - lse * kLog2E) : 0.0f;
            score = weight;
            slope = is_seen ? weight * (slope - (ROWS_ARE_KEYS ? column_delta : row_delta[t][half])) * shape.scale : 0.0f;
          }
      }

#pragma unroll
    for (int n = 0; n < COLUMNS; n += 16) {
      u32 gradient[ROW_TILES][4], weights[ROW_TILES][4];
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) {
        as_left<T>(gradient[t], slopes[t][n / 8], slopes[t][n / 8 + 1]);
        if (ROWS_ARE_KEYS) as_left<T>(weights[t], scores[t][n / 8], scores[t][n / 8 + 1]);
      }
#pragma unroll
      for (int c = 0; c < DEPTH; c += 16) {
        u32 b[4];
        right_fragments<DEPTH>(b, right + stage * COLUMNS * kRow, n, c);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++) {
          mma_16816<T>(first_sums[t][c / 8], gradient[t], b);
          mma_16816<T>(first_sums[t][c / 8 + 1], gradient[t], b + 2);
        }
        if (!ROWS_ARE_KEYS) continue;
        right_fragments<DEPTH>(b, right_slope + stage * COLUMNS * kRow, n, c);
#pragma unroll
        for (int t = 0; t < ROW_TILES; t++) {
          mma_16816<T>(second_sums[t][ROWS_ARE_KEYS ? c / 8 : 0], weights[t], b);
          mma_16816<T>(second_sums[t][ROWS_ARE_KEYS ? c / 8 + 1 : 0], weights[t], b + 2);
        }
      }
    }
    __syncthreads();
  }
  await_copies<0>();

  const int out_row = ROWS_ARE_KEYS ? shape.k_row : shape.q_row;
  const i64 out_head = head_offset(shape, sequence, head, num_rows, out_row);
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = own + t * 16 + half * 8;
      if (row >= num_rows) continue;
#pragma unroll
      for (int n = 0; n < DEPTH / 8; n++) {
        const int column = n * 8 + (lane & 3) * 2;
        if (column >= shape.depth) continue;
        const i64 to = out_head + (i64)row * out_row + column;
        store2(first_gradient + to, first_sums[t][n][half * 2], first_sums[t][n][half * 2 + 1]);
        if (ROWS_ARE_KEYS) store2(second_gradient + to, second_sums[t][n][half * 2], second_sums[t][n][half * 2 + 1]);
      }
    }
}
