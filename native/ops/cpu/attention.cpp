// MerakAttention and MerakAttentionGrad, and both on q, k and v that lie side by side (MerakPackedAttention,
// MerakPackedAttentionGrad): heads in parallel, each in its own workspace.
#include <omp.h>  // threads

#include <functional>  // std::function

#include "ops/cpu/amx/attention.h"  // the tile unit's
#include "ops/cpu/amx/product.h"    // available
#include "ops/cpu/isa/attention.h"  // the loops
#include "ops/cpu/isa/bf16.h"       // from_bf16
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
    require(qkv.dtype == DType::f32 || qkv.dtype == DType::bf16, "qkv must be float");
    q = k = Shape(head.begin(), head.end());
  } else {
    q = spec.inputs[input_index(spec, "q")].shape;
    k = spec.inputs[input_index(spec, "k")].shape;
    require(q.size() == 4 && k.size() == 4, "q and k must be [B,T,h,d]");
    require(q[0] == k[0] && q[2] == k[2] && q[3] == k[3], "q and k differ in batch, heads or depth");
  }
  AttentionPlan plan{};
  plan.packed = packed;
  plan.batch = q[0];
  plan.num_heads = q[2];
  const size_t hidden = static_cast<size_t>(q[2] * q[3]);
  plan.head = {static_cast<int>(q[1]), static_cast<int>(k[1]), static_cast<int>(q[3]), packed ? 3 * hidden : hidden, hidden,
               static_cast<float>(spec.attrs.number("scale")), spec.attrs.flag("causal", false), nullptr, false, false, false, false};
  plan.head.narrow = packed && spec.inputs[input_index(spec, "qkv")].dtype == DType::bf16;
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

// Rows of one head in float32: where they lie, or widened into the workspace.
class Widened {
 public:
  explicit Widened(float* workspace) : free_(workspace) {}
  const float* rows(const void* data, bool narrow, int num_rows, int depth, size_t stride) {
    if (!narrow) return static_cast<const float*>(data);
    float* rows = free_;
    for (int r = 0; r < num_rows; r++)
      MERAK_PICK(from_bf16)(static_cast<const uint16_t*>(data) + static_cast<size_t>(r) * stride, rows + static_cast<size_t>(r) * stride, static_cast<size_t>(depth));
    free_ += static_cast<size_t>(num_rows) * stride;
    return rows;
  }
  float* rest() const { return free_; }

 private:
  float* free_;
};

using Forward = std::function<void(const AttentionHead&, const void* q, const void* k, const void* v, void* out, float* logsumexp, void* workspace)>;
using Gradient = std::function<void(const AttentionHead&, const void* dy, const void* q, const void* k, const void* v, const void* out,
                                    const float* logsumexp, void* dq, void* dk, void* dv, void* workspace)>;

// Floats that widening a head's bfloat16 inputs takes. They keep their stride.
size_t widened_size(const AttentionHead& head) {
  const auto tq = static_cast<size_t>(head.num_queries), tk = static_cast<size_t>(head.num_keys);
  return (head.narrow ? (tq + 2 * tk) * head.stride : 0) + (head.narrow_dy ? tq * head.out_stride : 0);
}

Forward forward_of(const AttentionHead& head) {
  if (head.narrow && amx::available())
    return [](const AttentionHead& one, const void* q, const void* k, const void* v, void* out, float* logsumexp, void* workspace) {
      const auto narrow = [](const void* data) { return static_cast<const uint16_t*>(data); };
      amx::attention(one, narrow(q), narrow(k), narrow(v), out, logsumexp, workspace);
    };
  return [](const AttentionHead& one, const void* q, const void* k, const void* v, void* out, float* logsumexp, void* workspace) {
    Widened widened(static_cast<float*>(workspace));
    const float* wide_q = widened.rows(q, one.narrow, one.num_queries, one.depth, one.stride);
    const float* wide_k = widened.rows(k, one.narrow, one.num_keys, one.depth, one.stride);
    const float* wide_v = widened.rows(v, one.narrow, one.num_keys, one.depth, one.stride);
    MERAK_PICK(attention)(one, wide_q, wide_k, wide_v, out, logsumexp, widened.rest());
  };
}

Gradient gradient_of(const AttentionHead& head) {
  if (head.narrow && amx::available())
    return [](const AttentionHead& one, const void* dy, const void* q, const void* k, const void* v, const void* out, const float* logsumexp,
              void* dq, void* dk, void* dv, void* workspace) {
      const auto narrow = [](const void* data) { return static_cast<const uint16_t*>(data); };
      amx::attention_grad(one, dy, narrow(q), narrow(k), narrow(v), out, logsumexp, dq, dk, dv, workspace);
    };
  return [](const AttentionHead& one, const void* dy, const void* q, const void* k, const void* v, const void* out, const float* logsumexp,
            void* dq, void* dk, void* dv, void* workspace) {
    Widened widened(static_cast<float*>(workspace));
    const float* wide_q = widened.rows(q, one.narrow, one.num_queries, one.depth, one.stride);
    const float* wide_k = widened.rows(k, one.narrow, one.num_keys, one.depth, one.stride);
    const float* wide_v = widened.rows(v, one.narrow, one.num_keys, one.depth, one.stride);
    const float* wide_dy = widened.rows(dy, one.narrow_dy, one.num_queries, one.depth, one.out_stride);
    MERAK_PICK(attention_grad)(one, wide_dy, wide_q, wide_k, wide_v, out, logsumexp, dq, dk, dv, widened.rest());
  };
}

// Bytes of workspace for each thread.
size_t workspace_bytes(const AttentionHead& head, bool gradient) {
  size_t bytes = 0;
  if (head.narrow && amx::available()) {
    bytes = gradient ? amx::attention_grad_workspace(head) : amx::attention_workspace(head);
  } else {
    const size_t own = gradient ? attention_grad_workspace(head.num_keys, head.depth) : attention_workspace(head.num_keys, head.depth);
    bytes = (own + widened_size(head)) * sizeof(float);
  }
  return (bytes + 63) / 64 * 64;
}

std::unique_ptr<Kernel> make_forward(const NodeSpec& spec, bool packed) {
  AttentionPlan plan = plan_of(spec, packed);
  plan.head.narrow_out = spec.outputs[0].dtype == DType::bf16;
  const Operands operands(spec, plan);
  const size_t workspace = workspace_bytes(plan.head, false);
  const Forward run_head = forward_of(plan.head);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        auto* logsumexp = static_cast<float*>(outputs[1]);
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
        const bool narrow = plan.head.narrow;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq, plan.head.stride), at_k = plan.offset(b, h, tk, plan.head.stride);
          run_head(plan.at(b, inputs), moved(inputs[operands.q], at_q, narrow), moved(inputs[operands.k], operands.k_at + at_k, narrow),
                   moved(inputs[operands.v], operands.v_at + at_k, narrow),
                   moved(outputs[0], plan.offset(b, h, tq, plan.head.out_stride), plan.head.narrow_out), logsumexp + task * tq,
                   static_cast<std::byte*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * static_cast<size_t>(plan.num_threads));
}

std::unique_ptr<Kernel> make_gradient(const NodeSpec& spec, bool packed) {
  AttentionPlan plan = plan_of(spec, packed);
  const size_t idy = input_index(spec, "dy"), iout = input_index(spec, "out"), ilse = input_index(spec, "logsumexp");
  plan.head.narrow_dy = spec.inputs[idy].dtype == DType::bf16;
  require(plan.head.narrow_dy || spec.inputs[idy].dtype == DType::f32, "dy must be float");
  plan.head.narrow_out = spec.inputs[iout].dtype == DType::bf16;
  plan.head.narrow_gradient = spec.outputs[0].dtype == DType::bf16;
  const Operands operands(spec, plan);
  const size_t workspace = workspace_bytes(plan.head, true);
  const Gradient run_head = gradient_of(plan.head);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        void* dk = packed ? outputs[0] : outputs[1];
        void* dv = packed ? outputs[0] : outputs[2];
        const int tq = plan.head.num_queries, tk = plan.head.num_keys;
        const bool narrow = plan.head.narrow, narrow_gradient = plan.head.narrow_gradient;
#pragma omp parallel for schedule(static) num_threads(plan.num_threads)
        for (int64_t task = 0; task < plan.batch * plan.num_heads; task++) {
          const int64_t b = task / plan.num_heads, h = task % plan.num_heads;
          const size_t at_q = plan.offset(b, h, tq, plan.head.stride), at_k = plan.offset(b, h, tk, plan.head.stride),
                       at_out = plan.offset(b, h, tq, plan.head.out_stride);
          run_head(plan.at(b, inputs), moved(inputs[idy], at_out, plan.head.narrow_dy), moved(inputs[operands.q], at_q, narrow),
                   moved(inputs[operands.k], operands.k_at + at_k, narrow), moved(inputs[operands.v], operands.v_at + at_k, narrow),
                   moved(inputs[iout], at_out, plan.head.narrow_out), static_cast<const float*>(inputs[ilse]) + task * tq,
                   moved(outputs[0], at_q, narrow_gradient), moved(dk, operands.k_at + at_k, narrow_gradient),
                   moved(dv, operands.v_at + at_k, narrow_gradient),
                   static_cast<std::byte*>(context.scratch) + static_cast<size_t>(omp_get_thread_num()) * workspace);
        }
      },
      workspace * static_cast<size_t>(plan.num_threads));
}

}  // namespace

void register_attention_kernels() {
  register_kernel("MerakAttention", [](const NodeSpec& spec) { return make_forward(spec, false); });
  register_kernel("MerakAttentionGrad", [](const NodeSpec& spec) { return make_gradient(spec, false); });
  register_kernel("MerakPackedAttention", [](const NodeSpec& spec) { return make_forward(spec, true); });
  register_kernel("MerakPackedAttentionGrad", [](const NodeSpec& spec) { return make_gradient(spec, true); });
}

}  // namespace merak
