// Attention of one head of one sequence, tile by tile.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // int32_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

// One (batch, head): rows of q, k, v, ... are `stride` floats apart and `depth` long.
struct AttentionHead {
  int num_queries, num_keys, depth;
  size_t stride;
  float scale;
  bool causal;            // query i sees keys up to i + num_keys - num_queries
  const int32_t* mask;    // [num_keys] or null; 0 drops the key
};

constexpr int kQueryBlock = 48;
// Columns of a score tile: keys rounded up to a whole cache line.
inline size_t padded_keys(int num_keys) { return (static_cast<size_t>(num_keys) + 15) / 16 * 16; }
// Floats of workspace that one head needs.
inline size_t attention_workspace(int num_keys, int depth) { return padded_keys(num_keys) * static_cast<size_t>(kQueryBlock + depth); }
inline size_t attention_grad_workspace(int num_keys, int depth) {
  return padded_keys(num_keys) * static_cast<size_t>(2 * kQueryBlock + 2 * depth);
}

}  // namespace merak

MERAK_ISA_DECLARE(
  // out rows, logsumexp [num_queries]; the workspace may hold anything.
  void attention(const AttentionHead& head, const float* q, const float* k, const float* v, float* out, float* logsumexp,
                 float* workspace);
  void attention_grad(const AttentionHead& head, const float* dy, const float* q, const float* k, const float* v,
                      const float* out, const float* logsumexp, float* dq, float* dk, float* dv, float* workspace);)
