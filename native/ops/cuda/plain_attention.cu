// Attention in float32 arithmetic for any head size: a warp for each row, columns in tiles of 32, one to a lane.
// Q: type of q, k and v; DY, OUT: of dy and out; GRADIENT: of dq, dk and dv; DEPTH: head size.
#include "device/attention.cuh"
#include "device/reduce.cuh"

constexpr int kWarps = 4, kThreads = 32 * kWarps, kColumns = 32;
constexpr int kRow = DEPTH + 1;                // odd or even: lanes read different rows of a column
constexpr int kOwn = (DEPTH + 31) / 32;        // elements of a row for each lane

// Rows [first, first + kColumns) of a head as float32; zeros past `limit`.
template <class Element>
__device__ inline void stage_rows(float* tile, const Element* head, int first, int limit, int row) {
  for (int i = threadIdx.x; i < kColumns * DEPTH; i += kThreads) {
    const int r = i / DEPTH, c = i % DEPTH;
    tile[r * kRow + c] = first + r < limit ? to_float(head[(i64)(first + r) * row + c]) : 0.0f;
  }
}
template <class Element>
__device__ inline void stage_row(float* to, const Element* head, int index, int limit, int row) {
  for (int c = threadIdx.x & 31; c < DEPTH; c += 32) to[c] = index < limit ? to_float(head[(i64)index * row + c]) : 0.0f;
}
__device__ inline float product_of(const float* x, const float* y) {
  float sum = 0;
#pragma unroll 8
  for (int c = 0; c < DEPTH; c++) sum += x[c] * y[c];
  return sum;
}

// sums += weight of each lane times that lane's row of the tile.
__device__ inline void add_weighted(float (&sums)[kOwn], float weight, const float* tile) {
  const int lane = threadIdx.x & 31;
  for (int j = 0; j < kColumns; j++) {
    const float w = __shfl_sync(kAllLanes, weight, j);
#pragma unroll
    for (int n = 0; n < kOwn; n++) {
      const int c = n * 32 + lane;
      if (c < DEPTH) sums[n] += w * tile[j * kRow + c];
    }
  }
}

// Shared memory: a row for each warp, a tile of keys, one of values.
extern "C" __global__ void __launch_bounds__(kThreads) plain_attention(const Q* __restrict__ q, const Q* __restrict__ k, const Q* __restrict__ v,
                                                                       OUT* __restrict__ out, float* __restrict__ logsumexp, AttentionShape shape) {
  unsigned char* shared = dynamic_shared();
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.y, sequence = blockIdx.z;
  float* own = (float*)shared + warp * DEPTH;
  float* keys = (float*)shared + kWarps * DEPTH;
  float* values = keys + kColumns * kRow;
  const int query = blockIdx.x * kWarps + warp, shift = shape.num_keys - shape.num_queries;
  const Q* k_head = k + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const Q* v_head = v + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const int* mask = shape.mask ? shape.mask + (i64)sequence * shape.num_keys : nullptr;
  stage_row(own, q + head_offset(shape, sequence, head, shape.num_queries, shape.q_row), query, shape.num_queries, shape.q_row);
  int limit = shape.num_keys;
  if (shape.causal) limit = min(limit, min((int)(blockIdx.x + 1) * kWarps, shape.num_queries) + shift);
  float sums[kOwn] = {}, highest = -MERAK_INFINITY, total = 0;
  for (int at = 0; at < limit; at += kColumns) {
    __syncthreads();
    stage_rows(keys, k_head, at, limit, shape.k_row);
    stage_rows(values, v_head, at, limit, shape.k_row);
    __syncthreads();
    const int key = at + lane;
    const bool is_seen = key < limit && (!shape.causal || key <= query + shift) && (!mask || mask[key] != 0);
    const float score = is_seen ? product_of(own, keys + lane * kRow) * shape.scale : -MERAK_INFINITY;
    const float top = over_warp<MaxOf>(fmaxf(score, highest)), subtract = top == -MERAK_INFINITY ? 0.0f : top;
    const float weight = expf(score - subtract), shrink = expf(highest - subtract);
    highest = top;
    total = total * shrink + over_warp<SumOf<float>>(weight);
    for (int n = 0; n < kOwn; n++) sums[n] *= shrink;
    add_weighted(sums, weight, values);
  }
  if (query >= shape.num_queries) return;
  if (lane == 0)
    logsumexp[((i64)sequence * shape.num_heads + head) * shape.num_queries + query] = total == 0.0f ? -MERAK_INFINITY : highest + logf(total);
  OUT* row = out + head_offset(shape, sequence, head, shape.num_queries, shape.out_row) + (i64)query * shape.out_row;
  for (int n = 0; n < kOwn; n++)
    if (n * 32 + lane < DEPTH) row[n * 32 + lane] = Number<OUT>::from(total == 0.0f ? 0.0f : sums[n] / total);
}

// Rows are keys (dk in `first_gradient`, dv in `second_gradient`) or queries (dq in `first_gradient`). Shared memory: two rows for each
// warp and two tiles.
template <bool kRowsAreKeys>
__device__ inline void gradient_of_rows(const Q* q, const Q* k, const Q* v, const DY* dy, const float* logsumexp, const float* delta,
                                        GRADIENT* first_gradient, GRADIENT* second_gradient, const AttentionShape& shape) {
  unsigned char* shared = dynamic_shared();
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.y, sequence = blockIdx.z;
  float* own = (float*)shared + warp * 2 * DEPTH;
  float* own_slope = own + DEPTH;
  float* right = (float*)shared + 2 * kWarps * DEPTH;
  float* right_slope = right + kColumns * kRow;
  const int row = blockIdx.x * kWarps + warp, shift = shape.num_keys - shape.num_queries;
  const Q* q_head = q + head_offset(shape, sequence, head, shape.num_queries, shape.q_row);
  const Q* k_head = k + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const Q* v_head = v + head_offset(shape, sequence, head, shape.num_keys, shape.k_row);
  const DY* dy_head = dy + head_offset(shape, sequence, head, shape.num_queries, shape.out_row);
  const int* mask = shape.mask ? shape.mask + (i64)sequence * shape.num_keys : nullptr;
  const i64 statistics = ((i64)sequence * shape.num_heads + head) * shape.num_queries;
  const int num_rows = kRowsAreKeys ? shape.num_keys : shape.num_queries, num_columns = kRowsAreKeys ? shape.num_queries : shape.num_keys;
  if (kRowsAreKeys) {
    stage_row(own, k_head, row, num_rows, shape.k_row);
    stage_row(own_slope, v_head, row, num_rows, shape.k_row);
  } else {
    stage_row(own, q_head, row, num_rows, shape.q_row);
    stage_row(own_slope, dy_head, row, num_rows, shape.out_row);
  }
  float first_sums[kOwn] = {}, second_sums[kOwn] = {};
  for (int at = 0; at < num_columns; at += kColumns) {
    __syncthreads();
    if (kRowsAreKeys) {
      stage_rows(right, q_head, at, num_columns, shape.q_row);
      stage_rows(right_slope, dy_head, at, num_columns, shape.out_row);
    } else {
      stage_rows(right, k_head, at, num_columns, shape.k_row);
      stage_rows(right_slope, v_head, at, num_columns, shape.k_row);
    }
    __syncthreads();
    const int column = at + lane, query = kRowsAreKeys ? column : row, key = kRowsAreKeys ? row : column;
    bool is_seen = column < num_columns && row < num_rows && (!shape.causal || key <= query + shift) && (!mask || mask[key] != 0);
    const float lse = is_seen ? logsumexp[statistics + query] : -MERAK_INFINITY;
    is_seen = is_seen && lse != -MERAK_INFINITY;
    const float weight = is_seen ? expf(product_of(own, right + lane * kRow) * shape.scale - lse) : 0.0f;
    const float slope =
        is_seen ? weight * (product_of(own_slope, right_slope + lane * kRow) - delta[statistics + query]) * shape.scale : 0.0f;
    add_weighted(first_sums, slope, right);
    if (kRowsAreKeys) add_weighted(second_sums, weight, right_slope);
  }
  if (row >= num_rows) return;
  const int out_row = kRowsAreKeys ? shape.k_row : shape.q_row;
  const i64 to = head_offset(shape, sequence, head, num_rows, out_row) + (i64)row * out_row;
  for (int n = 0; n < kOwn; n++)
    if (n * 32 + lane < DEPTH) {
      first_gradient[to + n * 32 + lane] = Number<GRADIENT>::from(first_sums[n]);
      if (kRowsAreKeys) second_gradient[to + n * 32 + lane] = Number<GRADIENT>::from(second_sums[n]);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads) plain_attention_queries(const Q* __restrict__ q, const Q* __restrict__ k,
                                                                               const Q* __restrict__ v, const DY* __restrict__ dy,
                                                                               const float* __restrict__ logsumexp, const float* __restrict__ delta,
                                                                               GRADIENT* __restrict__ dq, AttentionShape shape) {
  gradient_of_rows<false>(q, k, v, dy, logsumexp, delta, dq, nullptr, shape);
}
extern "C" __global__ void __launch_bounds__(kThreads) plain_attention_keys(const Q* __restrict__ q, const Q* __restrict__ k, const Q* __restrict__ v,
                                                                            const DY* __restrict__ dy, const float* __restrict__ logsumexp,
                                                                            const float* __restrict__ delta, GRADIENT* __restrict__ dk,
                                                                            GRADIENT* __restrict__ dv, AttentionShape shape) {
  gradient_of_rows<true>(q, k, v, dy, logsumexp, delta, dk, dv, shape);
}
