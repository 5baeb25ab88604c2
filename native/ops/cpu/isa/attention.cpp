// Attention of one head: a block of queries against all keys it may see, whose scores live in one tile (Dao et al. 2022 without the
// online rescaling, which a whole row in cache does not need).
#include "ops/cpu/isa/attention.h"

#include "ops/cpu/isa/gemm_tile.inl"  // gemm
#include "ops/cpu/isa/lanes.inl"      // sixteen at a time
#include "ops/cpu/isa/math.inl"       // log_
#include "ops/cpu/isa/rounding.inl"   // store, number
#include "ops/cpu/isa/transpose.inl"  // transpose16

namespace merak::MERAK_ISA {
namespace {

// transposed[c][j] = rows[j][c]; the columns after num_keys up to a multiple of sixteen are zero.
void transpose(const float* rows, int num_keys, int depth, size_t stride, float* transposed) {
  const size_t ld = leading(num_keys);
  for (int first = 0; first < num_keys; first += 16) {
    const int count = first + 16 < num_keys ? 16 : num_keys - first;
    int c = 0;
    for (; c + 16 <= depth; c += 16) {
      Words tile[16];
      for (int j = 0; j < 16; j++) {
        if (j < count) __builtin_memcpy(tile + j, rows + (first + j) * stride + c, 64);
        else tile[j] = Words{};
      }
      transpose16(tile);
      for (int i = 0; i < 16; i++) __builtin_memcpy(transposed + (c + i) * ld + first, tile + i, 64);
    }
    for (; c < depth; c++)
      for (int j = 0; j < 16; j++) transposed[c * ld + first + j] = j < count ? rows[(first + j) * stride + c] : 0.0f;
  }
}

// The same rows nearer to each other.
void gather(const float* rows, int num_rows, int depth, size_t stride, float* gathered) {
  for (int r = 0; r < num_rows; r++) __builtin_memcpy(gathered + r * leading(depth), rows + r * stride, static_cast<size_t>(depth) * sizeof(float));
}

int round_up(int n) { return (n + 15) / 16 * 16; }

template <class Left, class Right>
[[gnu::always_inline]] inline float dot(const Left* x, const Right* y, int n) {
  Lanes sums{};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) sums += load_lanes(x + i) * load_lanes(y + i);
  float sum = sum_of(sums);
  for (; i < n; i++) sum += number(x[i]) * number(y[i]);
  return sum;
}

// Rows of float32, `ld` apart, to rows `stride` apart, rounded if `narrow`, times `factors` of each row if there are such.
void write_rows(const float* rows, size_t ld, int num_rows, int depth, const float* factors, bool narrow, void* to, size_t first, size_t stride) {
  for (int r = 0; r < num_rows; r++) {
    const float* x = rows + r * ld;
    const float factor = factors ? factors[r] : 1.0f;
    const size_t at = (first + r) * stride;
    if (narrow)
      for (int c = 0; c < depth; c++) store(x[c] * factor, static_cast<uint16_t*>(to) + at + c);
    else
      for (int c = 0; c < depth; c++) store(x[c] * factor, static_cast<float*>(to) + at + c);
  }
}

// A row of scores of query i to its weights but for a factor, which it returns; `padded` of them (a multiple of sixteen), zeros past
// what the query sees. `weights` may be the row itself.
template <class Number>
[[gnu::always_inline]] inline float softmax(const AttentionHead& head, int i, float* scores, int padded, float* logsumexp, Number* weights) {
  const int seen = visible_keys(head, i);
  const float scale = head.scale;
  if (const int32_t* mask = head.mask)
    for (int j = 0; j < seen; j++) scores[j] = mask[j] ? scores[j] : -kInfinity;
  Lanes highest_lanes = all_lanes(-kInfinity);
  int j = 0;
  for (; j + kLanes <= seen; j += kLanes) {
    const Lanes row = load_lanes(scores + j) * scale;
    store_lanes(row, scores + j);
    highest_lanes = larger(highest_lanes, row);
  }
  for (; j < padded; j += kLanes) {
    const Lanes row = first_lanes(seen - j, load_lanes(scores + j) * scale, -kInfinity);
    store_lanes(row, scores + j);
    highest_lanes = larger(highest_lanes, row);
  }
  // Nothing seen: all weights come out 0. A score that is no number makes the sum none.
  const float highest = max_of(highest_lanes), shift = highest > -kInfinity ? highest : 0.0f;
  Lanes sums{};
  for (j = 0; j < padded; j += kLanes) {
    const Lanes row = exp_weight(load_lanes(scores + j) - shift);
    sums += row;
    store_lanes(row, weights + j);
  }
  const float sum = sum_of(sums);
  *logsumexp = sum == 0.0f ? -kInfinity : shift + log_(sum);
  return sum == 0.0f ? 0.0f : 1.0f / sum;
}

// A row of scores of query i, and dy v^T of it in `slopes`, to the weights and the gradient of the scores. `product`: dy times out.
template <class Number>
[[gnu::always_inline]] inline void softmax_slope(const AttentionHead& head, int i, const float* scores, const float* slopes, int padded,
                                                 float logsumexp, float product, Number* weights, Number* gradient) {
  const int seen = logsumexp == -kInfinity ? 0 : visible_keys(head, i);
  const float scale = head.scale;
  for (int j = 0; j < padded; j += kLanes) {
    Lanes weight = exp_weight(load_lanes(scores + j) * scale - logsumexp);
    Lanes slope = weight * (load_lanes(slopes + j) - product) * scale;
    if (j + kLanes > seen) {
      weight = first_lanes(seen - j, weight, 0.0f);
      slope = first_lanes(seen - j, slope, 0.0f);
    }
    store_lanes(weight, weights + j);
    store_lanes(slope, gradient + j);
  }
  if (const int32_t* mask = head.mask)
    for (int j = 0; j < seen; j++)
      if (!mask[j]) weights[j] = gradient[j] = 0;
}

// Rows of queries that are taken together, from `first` on.
struct Queries {
  const AttentionHead& head;
  int first, rows;

  Queries(const AttentionHead& all, int from) : head(all), first(from), rows(from + kQueryBlock < all.num_queries ? kQueryBlock : all.num_queries - from) {}
  int visible(int r) const { return visible_keys(head, first + r); }
  int limit() const { return visible(rows - 1); }
  // Where row r of the weights ends: zeros follow what it sees, as far as a group of rows or of keys (gemm) may read.
  int written(int r) const {
    const int far = visible(r) + kMostRows, most = limit();
    return round_up(far < most ? far : most);
  }
  // The first row that sees a key.
  int seen_from(int key) const {
    const int row = head.causal ? key - (head.num_keys - head.num_queries) - first : 0;
    return row < 0 ? 0 : row;
  }
};

// The products' bands (gemm): scores are wanted where keys are seen, weights are zeros where they are not.
struct ByQuery : Queries {
  int columns(int r) const { return visible(r); }
  int depth_from(int) const { return 0; }
  int depth_to(int) const { return head.depth; }
};
struct OverKeys : Queries {
  int columns(int) const { return head.depth; }
  int depth_from(int) const { return 0; }
  int depth_to(int r) const { return visible(r); }
};
struct OverQueries : Queries {
  int first_key;
  int columns(int) const { return head.depth; }
  int depth_from(int key) const { return seen_from(first_key + key); }
  int depth_to(int) const { return rows; }
};

}  // namespace

float attention_weights(const AttentionHead& head, int i, float* scores, int padded, float* logsumexp, uint16_t* weights) {
  return softmax(head, i, scores, padded, logsumexp, weights);
}

void attention_slopes(const AttentionHead& head, int i, const float* scores, const float* slopes, int padded, float logsumexp,
                      const uint16_t* dy, const void* out, uint16_t* weights, uint16_t* gradient) {
  const float product = head.narrow_out ? dot(dy, static_cast<const uint16_t*>(out), head.depth)
                                        : dot(dy, static_cast<const float*>(out), head.depth);
  softmax_slope(head, i, scores, slopes, padded, logsumexp, product, weights, gradient);
}

void write_head_rows(const float* rows, size_t ld, int num_rows, int depth, const float* factors, bool narrow, void* to, size_t stride) {
  write_rows(rows, ld, num_rows, depth, factors, narrow, to, 0, stride);
}

void attention(const AttentionHead& head, const float* q, const float* k, const float* v, void* out, float* logsumexp,
               float* workspace) {
  const size_t ld = leading(head.num_keys), ld_depth = leading(head.depth);
  float* keys = workspace;                      // [depth, ld]
  float* tile = keys + ld * head.depth;         // [kQueryBlock, ld]
  float* values = tile + ld * kQueryBlock;      // [num_keys, ld_depth]
  float* mixed = values + ld_depth * head.num_keys;  // [kQueryBlock, ld_depth]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  gather(v, head.num_keys, head.depth, head.stride, values);
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const Queries block(head, first);
    gemm(block.rows, round_up(block.limit()), ByQuery{block}, q + first * head.stride, head.stride, 1, keys, ld, tile, ld, false);
    float factors[kQueryBlock];
    for (int r = 0; r < block.rows; r++) {
      float* scores = tile + r * ld;
      factors[r] = softmax(head, first + r, scores, block.written(r), logsumexp + first + r, scores);
    }
    gemm(block.rows, head.depth, OverKeys{block}, tile, ld, 1, values, ld_depth, mixed, ld_depth, false);
    write_rows(mixed, ld_depth, block.rows, head.depth, factors, head.narrow_out, out, first, head.out_stride);
  }
}

void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                    const void* out, const float* logsumexp, void* dq, void* dk, void* dv, float* workspace) {
  const size_t ld = leading(head.num_keys), ld_depth = leading(head.depth), tall = ld_depth * head.num_keys;
  float* keys = workspace;                      // [depth, ld]
  float* values = keys + ld * head.depth;       // [depth, ld]
  float* weights = values + ld * head.depth;    // [kQueryBlock, ld]
  float* slopes = weights + ld * kQueryBlock;   // [kQueryBlock, ld]
  float* key_rows = slopes + ld * kQueryBlock;  // [num_keys, ld_depth]
  float* key_sums = key_rows + tall;            // [num_keys, ld_depth]
  float* value_sums = key_sums + tall;          // [num_keys, ld_depth]
  float* query_sums = value_sums + tall;        // [kQueryBlock, ld_depth]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  transpose(v, head.num_keys, head.depth, head.stride, values);
  gather(k, head.num_keys, head.depth, head.stride, key_rows);
  int covered = 0;  // keys whose sums have begun
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const Queries block(head, first);
    const int limit = block.limit(), padded = round_up(limit);
    const size_t at = first * head.stride;
    const float* slope = dy + first * head.out_stride;
    gemm(block.rows, padded, ByQuery{block}, q + at, head.stride, 1, keys, ld, weights, ld, false);
    gemm(block.rows, padded, ByQuery{block}, slope, head.out_stride, 1, values, ld, slopes, ld, false);
    for (int r = 0; r < block.rows; r++) {
      const size_t out_at = (first + r) * head.out_stride;
      const float product = head.narrow_out ? dot(dy + out_at, static_cast<const uint16_t*>(out) + out_at, head.depth)
                                            : dot(dy + out_at, static_cast<const float*>(out) + out_at, head.depth);
      float *p = weights + r * ld, *s = slopes + r * ld;
      softmax_slope(head, first + r, p, s, block.written(r), logsumexp[first + r], product, p, s);
    }
    gemm(block.rows, head.depth, OverKeys{block}, slopes, ld, 1, key_rows, ld_depth, query_sums, ld_depth, false);
    write_rows(query_sums, ld_depth, block.rows, head.depth, nullptr, head.narrow_gradient, dq, first, head.stride);
    // Keys seen for the first time start their sums, the others add to them.
    const auto add = [&](const float* scores, const float* rows_of, size_t stride, float* sums) {
      gemm(covered, head.depth, OverQueries{block, 0}, scores, 1, ld, rows_of, stride, sums, ld_depth, true);
      gemm(limit - covered, head.depth, OverQueries{block, covered}, scores + covered, 1, ld, rows_of, stride, sums + covered * ld_depth, ld_depth,
           false);
    };
    add(weights, slope, head.out_stride, value_sums);
    add(slopes, q + at, head.stride, key_sums);
    covered = limit;
  }
  for (size_t i = covered * ld_depth; i < tall; i++) key_sums[i] = value_sums[i] = 0;
  write_rows(key_sums, ld_depth, head.num_keys, head.depth, nullptr, head.narrow_gradient, dk, 0, head.stride);
  write_rows(value_sums, ld_depth, head.num_keys, head.depth, nullptr, head.narrow_gradient, dv, 0, head.stride);
}

}  // namespace merak::MERAK_ISA
