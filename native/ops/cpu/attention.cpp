// MerakAttention and MerakAttentionGrad: heads in parallel, each in its own workspace.
#include <omp.h>  // threads

#include "ops/cpu/isa/attention.h"  // the loops
#include "ops/cpu/make_kernel.h"    // make_kernel

namespace merak {
namespace {

struct AttentionPlan {
  int64_t batch, num_heads;
  AttentionHead head;
  int num_threads;
  int mask;  // input index or -1

  // Offset of head h of sequence b in a tensor of `length` positions.
  size_t offset(int64_t b, int64_t h, int64_t length) const {
    return static_cast<size_t>(b * length * num_heads + h) * static_cast<size_t>(head.depth);
  }
  AttentionHead at(int64_t b, const void* const* inputs) const {
    AttentionHead one = head;
    if (mask >= 0) one.mask = static_cast<const int32_t*>(inputs[mask]) + b * head.num_keys;
    return one;
  }
};

AttentionPlan plan_of(const NodeSpec& spec) {
  const Shape& q = spec.inputs[input_index(spec, "q")].shape;
  const Shape& k = spec.inputs[input_index(spec, "k")].shape;
  require(q.size() == 4 && k.size() == 4, "q and k must be [B,T,h,d]");
  require(q[0] == k[0] && q[2] == k[2] && q[3] == k[3], "q and k differ in batch, heads or depth");
  AttentionPlan plan;
  plan.batch = q[0];
  plan.num_heads = q[2];
  plan.head = {static_cast<int>(q[1]), static_cast<int>(k[1]), static_cast<int>(q[3]), static_cast<size_t>(q[2] * q[3]),
               static_cast<float>(spec.attrs.number("scale")), spec.attrs.flag("causal", false), nullptr};
  plan.mask = spec.input("mask");
  if (plan.mask >= 0) {
    const TensorType& mask = spec.inputs[static_cast<size_t>(plan.mask)];
    require(mask.dtype == DType::i32 && mask.numel() == q[0] * k[1], "mask must be int32 [B,Tk]");
  }
  plan.num_threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(omp_get_max_threads(), plan.batch * plan.num_heads)));
  return plan;
}

std::unique_ptr<Kernel> make_attention(const NodeSpec& spec) {
  const AttentionPlan plan = plan_of(spec);
  const size_t iq = input_index(spec, "q"), ik = input_index(spec, "k"), iv = input_index(spec, "v");
  const size_t workspace = attention_workspace(plan.head.num_keys, plan.head.depth);
  const auto run_head = MERAK_PICK(attention);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const auto *q = static_cast<const float*>(inputs[iq]), *k = static_cast<const float*>(inputs[ik]),
                   *v = static_cast<const float*>(inputs[iv]);
        auto *out = static_cast<float*>(outputs[0]), *logsumexp = static_cast<float*>(outputs[1]);
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq), at_k = plan.offset(b, h, tk);
          run_head(plan.at(b, inputs), q + at_q, k + at_k, v + at_k, out + at_q, logsumexp + task * tq,
                   static_cast<float*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * sizeof(float) * static_cast<size_t>(plan.num_threads));
}

std::unique_ptr<Kernel> make_attention_grad(const NodeSpec& spec) {
  const AttentionPlan plan = plan_of(spec);
  const size_t idy = input_index(spec, "dy"), iq = input_index(spec, "q"), ik = input_index(spec, "k"), iv = input_index(spec, "v"),
               iout = input_index(spec, "out"), ilse = input_index(spec, "logsumexp");
  const size_t workspace = attention_grad_workspace(plan.head.num_keys, plan.head.depth);
  const auto run_head = MERAK_PICK(attention_grad);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const auto input = [&](size_t i) { return static_cast<const float*>(inputs[i]); };
        const auto output = [&](size_t i) { return static_cast<float*>(outputs[i]); };
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq), at_k = plan.offset(b, h, tk);
          run_head(plan.at(b, inputs), input(idy) + at_q, input(iq) + at_q, input(ik) + at_k, input(iv) + at_k, input(iout) + at_q,
                   input(ilse) + task * tq, output(0) + at_q, output(1) + at_k, output(2) + at_k,
                   static_cast<float*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * sizeof(float) * static_cast<size_t>(plan.num_threads));
}

}  // namespace

void register_attention_kernels() {
  register_kernel("MerakAttention", make_attention);
  register_kernel("MerakAttentionGrad", make_attention_grad);
}

}  // namespace merak
