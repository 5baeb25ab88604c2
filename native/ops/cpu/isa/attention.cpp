// Attention of one head: a block of queries against all keys it may see, whose scores live in one tile (Dao et al. 2022 without the
// online rescaling, which a whole row in cache does not need).
#include "ops/cpu/isa/attention.h"

#include "ops/cpu/isa/gemm_tile.inl"  // gemm
#include "ops/cpu/isa/math.inl"       // exp_, log_
#include "ops/cpu/isa/rounding.inl"   // store, number
#include "ops/cpu/isa/transpose.inl"  // transpose16

namespace merak::MERAK_ISA {
namespace {

// transposed[c][j] = rows[j][c]; columns past num_keys are zero.
void transpose(const float* rows, int num_keys, int depth, size_t stride, float* transposed) {
  const size_t ld = padded_keys(num_keys);
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

int round_up(int n) { return (n + 15) / 16 * 16; }

constexpr int kLanes = 16;

// Sixteen partial results to one, as a tree.
float sum_of(const float* lanes) {
  float a[8], b[4];
  for (int i = 0; i < 8; i++) a[i] = lanes[i] + lanes[i + 8];
  for (int i = 0; i < 4; i++) b[i] = a[i] + a[i + 4];
  return (b[0] + b[2]) + (b[1] + b[3]);
}
float larger(float x, float y) { return x > y ? x : y; }
float max_of(const float* lanes) {
  float a[8], b[4];
  for (int i = 0; i < 8; i++) a[i] = larger(lanes[i], lanes[i + 8]);
  for (int i = 0; i < 4; i++) b[i] = larger(a[i], a[i + 4]);
  return larger(larger(b[0], b[2]), larger(b[1], b[3]));
}

template <class Number>
float dot(const float* x, const Number* y, int n) {
  float lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) lanes[l] += x[i + l] * number(y[i + l]);
  for (; i < n; i++) lanes[0] += x[i] * number(y[i]);
  return sum_of(lanes);
}

// Rows of float32 side by side to rows `stride` apart, rounded if `narrow`.
void write_rows(const float* rows, int num_rows, int depth, bool narrow, void* to, size_t first, size_t stride) {
  for (int r = 0; r < num_rows; r++) {
    const float* x = rows + static_cast<size_t>(r) * depth;
    const size_t at = (first + r) * stride;
    if (narrow)
      for (int c = 0; c < depth; c++) store(x[c], static_cast<uint16_t*>(to) + at + c);
    else
      for (int c = 0; c < depth; c++) store(x[c], static_cast<float*>(to) + at + c);
  }
}

// A row of scores of query i to its weights, `padded` of them (a multiple of sixteen): `weights` may be the row itself.
template <class Number>
[[gnu::always_inline]] inline void softmax(const AttentionHead& head, int i, float* scores, int padded, float* logsumexp, Number* weights) {
  const int seen = visible_keys(head, i);
  // Columns past those seen become -infinity: whole vectors from here on, and their weights come out 0.
  for (int j = 0; j < padded; j++) scores[j] *= head.scale;
  if (head.mask)
    for (int j = 0; j < seen; j++) scores[j] = head.mask[j] ? scores[j] : -kInfinity;
  for (int j = seen; j < padded; j++) scores[j] = -kInfinity;
  float lanes[kLanes];
  int nan = 0;
  for (int l = 0; l < kLanes; l++) lanes[l] = -kInfinity;
  for (int j = 0; j < padded; j += kLanes)
    for (int l = 0; l < kLanes; l++) {
      lanes[l] = larger(lanes[l], scores[j + l]);
      nan |= scores[j + l] != scores[j + l];
    }
  const float highest = max_of(lanes);
  float sum = 0;
  if (highest > -kInfinity) {
    for (int l = 0; l < kLanes; l++) lanes[l] = 0;
    for (int j = 0; j < padded; j += kLanes)
      for (int l = 0; l < kLanes; l++) {
        const float weight = exp_(scores[j + l] - highest);
        scores[j + l] = weight;
        lanes[l] += weight;
      }
    sum = sum_of(lanes);
  } else {
    for (int j = 0; j < padded; j++) scores[j] = 0;
  }
  if (nan) sum = kNaN;
  const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
  for (int j = 0; j < padded; j++) store(scores[j] * inverse, weights + j);
  *logsumexp = sum == 0.0f ? -kInfinity : highest + log_(sum);
}

// A row of scores of query i, and dy v^T of it in `slopes`, to the weights and the gradient of the scores. `product`: dy times out.
template <class Number>
[[gnu::always_inline]] inline void softmax_slope(const AttentionHead& head, int i, const float* scores, const float* slopes, int padded,
                                                 float logsumexp, float product, Number* weights, Number* gradient) {
  if (logsumexp == -kInfinity) {
    for (int j = 0; j < padded; j++) weights[j] = gradient[j] = 0;
    return;
  }
  const float scale = head.scale;
  for (int j = 0; j < padded; j += kLanes)
    for (int l = 0; l < kLanes; l++) {
      const float weight = exp_(scores[j + l] * scale - logsumexp);
      const float slope = weight * (slopes[j + l] - product) * scale;
      store(weight, weights + j + l);
      store(slope, gradient + j + l);
    }
  const int seen = visible_keys(head, i);
  if (head.mask)
    for (int j = 0; j < seen; j++)
      if (!head.mask[j]) weights[j] = gradient[j] = 0;
  for (int j = seen; j < padded; j++) weights[j] = gradient[j] = 0;
}

}  // namespace

void attention_weights(const AttentionHead& head, int i, float* scores, int padded, float* logsumexp, uint16_t* weights) {
  softmax(head, i, scores, padded, logsumexp, weights);
}

void attention_slopes(const AttentionHead& head, int i, const float* scores, const float* slopes, int padded, float logsumexp,
                      const uint16_t* dy, const void* out, uint16_t* weights, uint16_t* gradient) {
  float product = 0;
#pragma omp simd reduction(+ : product)
  for (int c = 0; c < head.depth; c++)
    product += number(dy[c]) * (head.narrow_out ? number(static_cast<const uint16_t*>(out)[c]) : static_cast<const float*>(out)[c]);
  softmax_slope(head, i, scores, slopes, padded, logsumexp, product, weights, gradient);
}

void write_head_rows(const float* rows, size_t ld, int num_rows, int depth, bool narrow, void* to, size_t stride) {
  for (int r = 0; r < num_rows; r++) write_rows(rows + r * ld, 1, depth, narrow, to, static_cast<size_t>(r), stride);
}

void attention(const AttentionHead& head, const float* q, const float* k, const float* v, void* out, float* logsumexp,
               float* workspace) {
  const size_t ld = padded_keys(head.num_keys);
  float* keys = workspace;                      // [depth, ld]
  float* tile = keys + ld * head.depth;         // [kQueryBlock, ld]
  float* mixed = tile + ld * kQueryBlock;       // [kQueryBlock, depth]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const int rows = first + kQueryBlock < head.num_queries ? kQueryBlock : head.num_queries - first;
    const int limit = visible_keys(head, first + rows - 1);
    const int padded = round_up(limit);
    gemm(rows, padded, head.depth, q + first * head.stride, head.stride, 1, keys, ld, tile, ld, false);
    for (int r = 0; r < rows; r++) {
      float* scores = tile + r * ld;
      softmax(head, first + r, scores, padded, logsumexp + first + r, scores);
    }
    gemm(rows, head.depth, limit, tile, ld, 1, v, head.stride, mixed, head.depth, false);
    write_rows(mixed, rows, head.depth, head.narrow_out, out, first, head.out_stride);
  }
}

void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                    const void* out, const float* logsumexp, void* dq, void* dk, void* dv, float* workspace) {
  const size_t ld = padded_keys(head.num_keys);
  float* keys = workspace;                           // [depth, ld]
  float* values = keys + ld * head.depth;            // [depth, ld]
  float* weights = values + ld * head.depth;         // [kQueryBlock, ld]
  float* slopes = weights + ld * kQueryBlock;        // [kQueryBlock, ld]
  float* key_sums = slopes + ld * kQueryBlock;       // [num_keys, depth]
  float* value_sums = key_sums + ld * head.depth;    // [num_keys, depth]
  float* query_sums = value_sums + ld * head.depth;  // [kQueryBlock, depth]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  transpose(v, head.num_keys, head.depth, head.stride, values);
  int covered = 0;  // keys whose sums have begun
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const int rows = first + kQueryBlock < head.num_queries ? kQueryBlock : head.num_queries - first;
    const int limit = visible_keys(head, first + rows - 1);
    const int padded = round_up(limit);
    const size_t at = first * head.stride;
    const float* slope = dy + first * head.out_stride;
    gemm(rows, padded, head.depth, q + at, head.stride, 1, keys, ld, weights, ld, false);
    gemm(rows, padded, head.depth, slope, head.out_stride, 1, values, ld, slopes, ld, false);
    for (int r = 0; r < rows; r++) {
      const size_t out_at = (first + r) * head.out_stride;
      const float product = head.narrow_out ? dot(dy + out_at, static_cast<const uint16_t*>(out) + out_at, head.depth)
                                            : dot(dy + out_at, static_cast<const float*>(out) + out_at, head.depth);
      float *p = weights + r * ld, *s = slopes + r * ld;
      softmax_slope(head, first + r, p, s, padded, logsumexp[first + r], product, p, s);
    }
    gemm(rows, head.depth, limit, slopes, ld, 1, k, head.stride, query_sums, head.depth, false);
    write_rows(query_sums, rows, head.depth, head.narrow_gradient, dq, first, head.stride);
    // Keys seen for the first time start their sums, the others add to them.
    const auto add = [&](const float* scores, const float* rows_of, size_t stride, float* sums) {
      gemm(covered, head.depth, rows, scores, 1, ld, rows_of, stride, sums, head.depth, true);
      gemm(limit - covered, head.depth, rows, scores + covered, 1, ld, rows_of, stride, sums + static_cast<size_t>(covered) * head.depth,
           head.depth, false);
    };
    add(weights, slope, head.out_stride, value_sums);
    add(slopes, q + at, head.stride, key_sums);
    covered = limit;
  }
  for (size_t i = static_cast<size_t>(covered) * head.depth; i < static_cast<size_t>(head.num_keys) * head.depth; i++)
    key_sums[i] = value_sums[i] = 0;
  write_rows(key_sums, head.num_keys, head.depth, head.narrow_gradient, dk, 0, head.stride);
  write_rows(value_sums, head.num_keys, head.depth, head.narrow_gradient, dv, 0, head.stride);
}

}  // namespace merak::MERAK_ISA
