// MerakAttention and MerakAttentionGrad, and both on q, k and v that lie side by side (MerakPackedAttention,
// MerakPackedAttentionGrad): heads in parallel, each in its own workspace.
#include <omp.h>  // threads

#include "ops/cpu/isa/attention.h"  // the loops
#include "ops/cpu/make_kernel.h"    // make_kernel

namespace merak {
namespace {

struct AttentionPlan {
  int64_t batch, num_heads;
  AttentionHead head;
  int num_threads;
  int mask;     // input index or -1
  bool packed;  // q, k and v are thirds of the rows of one tensor

  // Offset of head h of sequence b in a tensor of `length` positions, rows `stride` apart.
  size_t offset(int64_t b, int64_t h, int64_t length, size_t stride) const {
    return static_cast<size_t>(b * length) * stride + static_cast<size_t>(h * head.depth);
  }
  size_t hidden() const { return static_cast<size_t>(num_heads * head.depth); }
  AttentionHead at(int64_t b, const void* const* inputs) const {
    AttentionHead one = head;
    if (mask >= 0) one.mask = static_cast<const int32_t*>(inputs[mask]) + b * head.num_keys;
    return one;
  }
};

AttentionPlan plan_of(const NodeSpec& spec, bool packed) {
  Shape q, k;
  if (packed) {
    const std::vector<int64_t> head = spec.attrs.ints("headShape");
    const TensorType& qkv = spec.inputs[input_index(spec, "qkv")];
    require(head.size() == 4 && qkv.numel() == 3 * head[0] * head[1] * head[2] * head[3], "qkv must be three times headShape");
    require(qkv.dtype == DType::f32, "qkv must be float32");
    q = k = Shape(head.begin(), head.end());
  } else {
    q = spec.inputs[input_index(spec, "q")].shape;
    k = spec.inputs[input_index(spec, "k")].shape;
    require(q.size() == 4 && k.size() == 4, "q and k must be [B,T,h,d]");
    require(q[0] == k[0] && q[2] == k[2] && q[3] == k[3], "q and k differ in batch, heads or depth");
  }
  AttentionPlan plan;
  plan.packed = packed;
  plan.batch = q[0];
  plan.num_heads = q[2];
  const size_t hidden = static_cast<size_t>(q[2] * q[3]);
  plan.head = {static_cast<int>(q[1]), static_cast<int>(k[1]), static_cast<int>(q[3]), packed ? 3 * hidden : hidden, hidden,
               static_cast<float>(spec.attrs.number("scale")), spec.attrs.flag("causal", false), nullptr, false, false};
  plan.mask = spec.input("mask");
  if (plan.mask >= 0) {
    const TensorType& mask = spec.inputs[static_cast<size_t>(plan.mask)];
    require(mask.dtype == DType::i32 && mask.numel() == q[0] * k[1], "mask must be int32 [B,Tk]");
  }
  plan.num_threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(omp_get_max_threads(), plan.batch * plan.num_heads)));
  return plan;
}

// An address `count` elements on, in a tensor of float32 or bfloat16.
const void* moved(const void* data, size_t count, bool narrow) { return static_cast<const uint8_t*>(data) + count * (narrow ? 2 : 4); }
void* moved(void* data, size_t count, bool narrow) { return static_cast<uint8_t*>(data) + count * (narrow ? 2 : 4); }

// q, k and v as the kernel finds them.
struct Operands {
  size_t q, k, v;  // input indices
  size_t k_at, v_at;

  Operands(const NodeSpec& spec, const AttentionPlan& plan) {
    q = input_index(spec, plan.packed ? "qkv" : "q");
    k = plan.packed ? q : input_index(spec, "k");
    v = plan.packed ? q : input_index(spec, "v");
    k_at = plan.packed ? plan.hidden() : 0;
    v_at = 2 * k_at;
  }
};

std::unique_ptr<Kernel> make_forward(const NodeSpec& spec, bool packed) {
  AttentionPlan plan = plan_of(spec, packed);
  plan.head.narrow_out = spec.outputs[0].dtype == DType::bf16;
  const Operands operands(spec, plan);
  const size_t workspace = attention_workspace(plan.head.num_keys, plan.head.depth);
  const auto run_head = MERAK_PICK(attention);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const auto *q = static_cast<const float*>(inputs[operands.q]), *k = static_cast<const float*>(inputs[operands.k]) + operands.k_at,
                   *v = static_cast<const float*>(inputs[operands.v]) + operands.v_at;
        auto* logsumexp = static_cast<float*>(outputs[1]);
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq, plan.head.stride), at_k = plan.offset(b, h, tk, plan.head.stride);
          run_head(plan.at(b, inputs), q + at_q, k + at_k, v + at_k,
                   moved(outputs[0], plan.offset(b, h, tq, plan.head.out_stride), plan.head.narrow_out), logsumexp + task * tq,
                   static_cast<float*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * sizeof(float) * static_cast<size_t>(plan.num_threads));
}

std::unique_ptr<Kernel> make_gradient(const NodeSpec& spec, bool packed) {
  AttentionPlan plan = plan_of(spec, packed);
  const size_t idy = input_index(spec, "dy"), iout = input_index(spec, "out"), ilse = input_index(spec, "logsumexp");
  require(spec.inputs[idy].dtype == DType::f32, "dy must be float32");
  plan.head.narrow_out = spec.inputs[iout].dtype == DType::bf16;
  plan.head.narrow_gradient = spec.outputs[0].dtype == DType::bf16;
  const Operands operands(spec, plan);
  const size_t workspace = attention_grad_workspace(plan.head.num_keys, plan.head.depth);
  const auto run_head = MERAK_PICK(attention_grad);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const auto input = [&](size_t i) { return static_cast<const float*>(inputs[i]); };
        void* dk = packed ? outputs[0] : outputs[1];
        void* dv = packed ? outputs[0] : outputs[2];
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
        const bool narrow = plan.head.narrow_gradient;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq, plan.head.stride), at_k = plan.offset(b, h, tk, plan.head.stride),
                       at_out = plan.offset(b, h, tq, plan.head.out_stride);
          run_head(plan.at(b, inputs), input(idy) + at_out, input(operands.q) + at_q, input(operands.k) + operands.k_at + at_k,
                   input(operands.v) + operands.v_at + at_k, moved(inputs[iout], at_out, plan.head.narrow_out), input(ilse) + task * tq,
                   moved(outputs[0], at_q, narrow), moved(dk, operands.k_at + at_k, narrow), moved(dv, operands.v_at + at_k, narrow),
                   static_cast<float*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * sizeof(float) * static_cast<size_t>(plan.num_threads));
}

}  // namespace

void register_attention_kernels() {
  register_kernel("MerakAttention", [](const NodeSpec& spec) { return make_forward(spec, false); });
  register_kernel("MerakAttentionGrad", [](const NodeSpec& spec) { return make_gradient(spec, false); });
  register_kernel("MerakPackedAttention", [](const NodeSpec& spec) { return make_forward(spec, true); });
  register_kernel("MerakPackedAttentionGrad", [](const NodeSpec& spec) { return make_gradient(spec, true); });
}

}  // namespace merak
