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
};

constexpr int kQueryBlock = 48;
// Columns of a score tile: keys rounded up to a whole cache line.
inline size_t padded_keys(int num_keys) { return (static_cast<size_t>(num_keys) + 15) / 16 * 16; }
// Floats of workspace that one head needs.
inline size_t attention_workspace(int num_keys, int depth) {
  return padded_keys(num_keys) * static_cast<size_t>(kQueryBlock + depth) + static_cast<size_t>(kQueryBlock) * static_cast<size_t>(depth);
}
inline size_t attention_grad_workspace(int num_keys, int depth) {
  return padded_keys(num_keys) * static_cast<size_t>(2 * kQueryBlock + 4 * depth) + static_cast<size_t>(kQueryBlock) * static_cast<size_t>(depth);
}

}  // namespace merak

MERAK_ISA_DECLARE(
  // out rows (float or bfloat16), logsumexp [num_queries]; the workspace may hold anything.
  void attention(const AttentionHead& head, const float* q, const float* k, const float* v, void* out, float* logsumexp,
                 float* workspace);
  void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                      const void* out, const float* logsumexp, void* dq, void* dk, void* dv, float* workspace);)
