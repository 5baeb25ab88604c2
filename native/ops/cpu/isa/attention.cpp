// Attention of one head: a block of queries against all keys it may see, whose scores live in one tile (Dao et al. 2022 without the
// online rescaling, which a whole row in cache does not need).
#include "ops/cpu/isa/attention.h"

#include "ops/cpu/isa/gemm_tile.inl"  // gemm
#include "ops/cpu/isa/math.inl"       // exp_, log_

namespace merak::MERAK_ISA {
namespace {

// transposed[c][j] = rows[j][c]; columns past num_keys are zero.
void transpose(const float* rows, int num_keys, int depth, size_t stride, float* transposed) {
  const size_t ld = padded_keys(num_keys);
  for (int first = 0; first < num_keys; first += 16) {
    const int last = first + 16 < num_keys ? first + 16 : num_keys;
    for (int c = 0; c < depth; c++)
      for (int j = first; j < last; j++) transposed[c * ld + j] = rows[j * stride + c];
  }
  for (int c = 0; c < depth; c++)
    for (size_t j = num_keys; j < ld; j++) transposed[c * ld + j] = 0;
}

// How many keys query i may see at most.
int visible(const AttentionHead& head, int i) {
  if (!head.causal) return head.num_keys;
  const int last = i + 1 + head.num_keys - head.num_queries;
  return last < 0 ? 0 : last < head.num_keys ? last : head.num_keys;
}

int round_up(int n) { return (n + 15) / 16 * 16; }

float dot(const float* x, const float* y, int n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

}  // namespace

void attention(const AttentionHead& head, const float* q, const float* k, const float* v, float* out, float* logsumexp,
               float* workspace) {
  const size_t ld = padded_keys(head.num_keys);
  float* keys = workspace;                      // [depth, ld]
  float* tile = keys + ld * head.depth;         // [kQueryBlock, ld]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const int rows = first + kQueryBlock < head.num_queries ? kQueryBlock : head.num_queries - first;
    const int limit = visible(head, first + rows - 1);
    const int padded = round_up(limit);
    gemm(rows, padded, head.depth, q + first * head.stride, head.stride, 1, keys, ld, tile, ld, false);
    for (int r = 0; r < rows; r++) {
      float* scores = tile + r * ld;
      const int seen = visible(head, first + r);
      float highest = -kInfinity;
      if (head.mask) {
        for (int j = 0; j < seen; j++) scores[j] = head.mask[j] ? scores[j] * head.scale : -kInfinity;
#pragma omp simd reduction(max : highest)
        for (int j = 0; j < seen; j++) highest = highest > scores[j] ? highest : scores[j];
      } else {
#pragma omp simd reduction(max : highest)
        for (int j = 0; j < seen; j++) {
          scores[j] *= head.scale;
          highest = highest > scores[j] ? highest : scores[j];
        }
      }
      float sum = 0;
      if (highest > -kInfinity || highest != highest) {
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < seen; j++) {
          const float weight = exp_(scores[j] - highest);
          scores[j] = weight;
          sum += weight;
        }
      } else {
        for (int j = 0; j < seen; j++) {
          sum += scores[j] != scores[j] ? scores[j] : 0.0f;  // a NaN the comparison above skipped
          scores[j] = 0;
        }
      }
      for (int j = seen; j < padded; j++) scores[j] = 0;
      const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
      for (int j = 0; j < seen; j++) scores[j] *= inverse;
      logsumexp[first + r] = sum == 0.0f ? -kInfinity : highest + log_(sum);
    }
    gemm(rows, head.depth, limit, tile, ld, 1, v, head.stride, out + first * head.stride, head.stride, false);
  }
}

void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                    const float* out, const float* logsumexp, float* dq, float* dk, float* dv, float* workspace) {
  const size_t ld = padded_keys(head.num_keys);
  float* keys = workspace;                           // [depth, ld]
  float* values = keys + ld * head.depth;            // [depth, ld]
  float* weights = values + ld * head.depth;         // [kQueryBlock, ld]
  float* slopes = weights + ld * kQueryBlock;        // [kQueryBlock, ld]
  transpose(k, head.num_keys, head.depth, head.stride, keys);
  transpose(v, head.num_keys, head.depth, head.stride, values);
  for (int j = 0; j < head.num_keys; j++)
    for (int c = 0; c < head.depth; c++) dk[j * head.stride + c] = dv[j * head.stride + c] = 0;
  for (int first = 0; first < head.num_queries; first += kQueryBlock) {
    const int rows = first + kQueryBlock < head.num_queries ? kQueryBlock : head.num_queries - first;
    const int limit = visible(head, first + rows - 1);
    const int padded = round_up(limit);
    const size_t at = first * head.stride;
    gemm(rows, padded, head.depth, q + at, head.stride, 1, keys, ld, weights, ld, false);
    gemm(rows, padded, head.depth, dy + at, head.stride, 1, values, ld, slopes, ld, false);
    for (int r = 0; r < rows; r++) {
      float* p = weights + r * ld;
      float* s = slopes + r * ld;
      const int seen = visible(head, first + r);
      const float lse = logsumexp[first + r];
      const float product = dot(dy + at + r * head.stride, out + at + r * head.stride, head.depth);
      if (lse == -kInfinity) {
        for (int j = 0; j < padded; j++) p[j] = s[j] = 0;
        continue;
      }
      const float scale = head.scale;
#pragma omp simd
      for (int j = 0; j < seen; j++) {
        const float weight = exp_(p[j] * scale - lse);
        p[j] = weight;
        s[j] = weight * (s[j] - product) * scale;
      }
      if (head.mask)
        for (int j = 0; j < seen; j++)
          if (!head.mask[j]) p[j] = s[j] = 0;
      for (int j = seen; j < padded; j++) p[j] = s[j] = 0;
    }
    gemm(rows, head.depth, limit, slopes, ld, 1, k, head.stride, dq + at, head.stride, false);
    gemm(limit, head.depth, rows, weights, 1, ld, dy + at, head.stride, dv, head.stride, true);
    gemm(limit, head.depth, rows, slopes, 1, ld, q + at, head.stride, dk, head.stride, true);
  }
}

}  // namespace merak::MERAK_ISA
