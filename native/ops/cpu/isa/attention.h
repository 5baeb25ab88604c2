// Attention of one head of one sequence, tile by tile.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // int32_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

// One (batch, head): `depth` floats per row. Rows of q, k, v and of their gradients are `stride` elements apart, those of out and dy
// `out_stride`.
struct AttentionHead {
  int num_queries, num_keys, depth;
  size_t stride, out_stride;
  float scale;
  bool causal;            // query i sees keys up to i + num_keys - num_queries
  const int32_t* mask;    // [num_keys] or null; 0 drops the key
  bool narrow_out;        // `out` is bfloat16
  bool narrow_gradient;   // dq, dk and dv are bfloat16
  bool narrow;            // q, k and v are bfloat16, `narrow_dy`: dy is. Those of isa/ take float32 only
  bool narrow_dy;
};

// How many keys query i may see at most.
static inline int visible_keys(const AttentionHead& head, int i) {
  if (!head.causal) return head.num_keys;
  const int last = i + 1 + head.num_keys - head.num_queries;
  return last < 0 ? 0 : last < head.num_keys ? last : head.num_keys;
}

constexpr int kQueryBlock = 48;
// Floats from row to row of a workspace's matrix of `n` columns: an odd number of cache lines, so that a column's rows lie in different
// sets of the first cache.
static inline size_t leading(int n) { return ((static_cast<size_t>(n) + 15) / 16 | 1) * 16; }
// Floats of workspace that one head needs.
static inline size_t attention_workspace(int num_keys, int depth) {
  return leading(num_keys) * static_cast<size_t>(kQueryBlock + depth) + static_cast<size_t>(num_keys + kQueryBlock) * leading(depth);
}
static inline size_t attention_grad_workspace(int num_keys, int depth) {
  return leading(num_keys) * static_cast<size_t>(2 * (kQueryBlock + depth)) + static_cast<size_t>(3 * num_keys + kQueryBlock) * leading(depth);
}

}  // namespace merak

MERAK_ISA_DECLARE(
  // out rows (float or bfloat16), logsumexp [num_queries]; the workspace may hold anything.
  void attention(const AttentionHead& head, const float* q, const float* k, const float* v, void* out, float* logsumexp,
                 float* workspace);
  // Steps of attention whose products are made elsewhere. A row of scores of query i to its weights (`padded` of them, a multiple of
  // sixteen; past what the query sees zeros) but for the factor that it returns, and its logsumexp; the scores are lost.
  float attention_weights(const AttentionHead& head, int i, float* scores, int padded, float* logsumexp, uint16_t* weights);
  // A row of scores, and dy v^T of it in `slopes`, to the weights and the gradient of the scores.
  void attention_slopes(const AttentionHead& head, int i, const float* scores, const float* slopes, int padded, float logsumexp,
                        const uint16_t* dy, const void* out, uint16_t* weights, uint16_t* gradient);
  // Rows of float32, `ld` apart, times `factors` of each (null: 1), to rows `stride` apart, rounded if `narrow`.
  void write_head_rows(const float* rows, size_t ld, int num_rows, int depth, const float* factors, bool narrow, void* to, size_t stride);
  void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                      const void* out, const float* logsumexp, void* dq, void* dk, void* dv, float* workspace);)
