// Attention of one head on the processor's tile unit, products in bfloat16.
#pragma once
#include "ops/cpu/isa/attention.h"  // AttentionHead

namespace merak::amx {

// Bytes of workspace that a head needs, 64-byte aligned.
size_t attention_workspace(const AttentionHead& head);
size_t attention_grad_workspace(const AttentionHead& head);

// As those of isa/attention.h, on bfloat16 q, k and v (`head.narrow`), and dy too where `head.narrow_dy`. Weights and their gradients
// are rounded to bfloat16 before they are multiplied; sums are float32.
void attention(const AttentionHead& head, const uint16_t* q, const uint16_t* k, const uint16_t* v, void* out, float* logsumexp,
               void* workspace);
void attention_grad(const AttentionHead& head, const void* dy, const uint16_t* q, const uint16_t* k, const uint16_t* v, const void* out,
                    const float* logsumexp, void* dq, void* dk, void* dv, void* workspace);

}  // namespace merak::amx
