// BatchMatMul and _FusedMatMul through oneDNN. Beside tfjs's attributes both take `accumulate` (engine only): output += product.
#include <algorithm>  // std::fill
#include <cstring>    // memset
#include <unordered_map>  // primitive arguments

#include "ops/cpu/dnnl.h"

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

struct MatMulPlan {
  Shape a_shape, a_strides, b_shape, b_strides, c_shape;  // logical [..., M, K] x [..., K, N] = [..., M, N]
};

void swap_last(Shape& shape) { std::swap(shape[shape.size() - 1], shape[shape.size() - 2]); }

// Logical shape and strides of an operand, transposed if asked, with leading ones up to `rank`.
void operand(const Shape& stored, bool transpose, size_t rank, Shape& shape, Shape& strides) {
  shape = Shape(rank - stored.size(), 1);
  shape.insert(shape.end(), stored.begin(), stored.end());
  strides = onednn::row_major(shape);
  if (transpose) {
    swap_last(shape);
    swap_last(strides);
  }
}

// Drops the batch dims where that is exact: one weight matrix for all of a's rows makes one tall product, and equal batch dims
// become one.
MatMulPlan collapse(MatMulPlan plan, bool transpose_a) {
  const size_t rank = plan.a_shape.size();
  const int64_t m = plan.a_shape[rank - 2], k = plan.a_shape[rank - 1], n = plan.b_shape[rank - 1];
  int64_t a_batch = 1, b_batch = 1;
  bool same = true;
  for (size_t i = 0; i + 2 < rank; i++) {
    a_batch *= plan.a_shape[i];
    b_batch *= plan.b_shape[i];
    same = same && plan.a_shape[i] == plan.b_shape[i];
  }
  const Shape b_tail(plan.b_strides.end() - 2, plan.b_strides.end());
  const Shape a_tail(plan.a_strides.end() - 2, plan.a_strides.end());
  if (b_batch == 1 && (!transpose_a || a_batch == 1)) {
    const Shape a_strides = a_batch == 1 ? a_tail : Shape{k, 1};
    return {{a_batch * m, k}, a_strides, {k, n}, b_tail, {a_batch * m, n}};
  }
  if (same)
    return {{a_batch, m, k}, {m * k, a_tail[0], a_tail[1]}, {a_batch, k, n}, {k * n, b_tail[0], b_tail[1]}, {a_batch, m, n}};
  return plan;
}

MatMulPlan plan_of(const NodeSpec& spec) {
  const Shape& a = spec.inputs[0].shape;
  const Shape& b = spec.inputs[1].shape;
  if (a.size() < 2 || b.size() < 2) throw Unsupported("operands must have at least two dims");
  const bool transpose_a = spec.attrs.flag("transposeA", false), transpose_b = spec.attrs.flag("transposeB", false);
  const size_t rank = std::max(a.size(), b.size());
  MatMulPlan plan;
  operand(a, transpose_a, rank, plan.a_shape, plan.a_strides);
  operand(b, transpose_b, rank, plan.b_shape, plan.b_strides);
  if (plan.a_shape[rank - 1] != plan.b_shape[rank - 2]) throw std::runtime_error("inner dims differ");
  for (size_t i = 0; i + 2 < rank; i++) {
    const int64_t x = plan.a_shape[i], y = plan.b_shape[i];
    if (x != y && x != 1 && y != 1) throw std::runtime_error("batch dims do not broadcast");
    plan.c_shape.push_back(x == 1 ? y : x);
  }
  plan.c_shape.push_back(plan.a_shape[rank - 2]);
  plan.c_shape.push_back(plan.b_shape[rank - 1]);
  return collapse(std::move(plan), transpose_a);
}

void append_activation(dnnl::post_ops& ops, const Attrs& attrs) {
  const std::string name = attrs.text("activation", "linear");
  using dnnl::algorithm;
  if (name == "linear") return;
  if (name == "relu") onednn::append_eltwise(ops, algorithm::eltwise_relu, 0, 0);
  else if (name == "relu6") onednn::append_eltwise(ops, algorithm::eltwise_clip, 0, 6);
  else if (name == "elu") onednn::append_eltwise(ops, algorithm::eltwise_elu, 1, 0);
  else if (name == "sigmoid") onednn::append_eltwise(ops, algorithm::eltwise_logistic, 0, 0);
  else if (name == "leakyrelu")
    onednn::append_eltwise(ops, algorithm::eltwise_relu, static_cast<float>(attrs.number("leakyreluAlpha", 0.2)), 0);
  else throw Unsupported("activation " + name);
}

class MatMul : public Kernel {
 public:
  explicit MatMul(const NodeSpec& spec) : accumulate_(spec.attrs.flag("accumulate", false)) {
    for (const TensorType& input : spec.inputs)
      if (input.dtype != DType::f32) throw Unsupported("only float32 operands");
    const MatMulPlan plan = plan_of(spec);
    output_numel_ = spec.outputs[0].numel();
    if (output_numel_ == 0 || spec.inputs[0].numel() == 0) {
      empty_ = true;
      if (output_numel_ && spec.inputs.size() > 2) throw Unsupported("bias on an empty product");
      return;
    }
    dnnl::post_ops ops;
    if (accumulate_) ops.append_sum(1.0f);
    append_activation(ops, spec.attrs);
    dnnl::primitive_attr attr = onednn::attributes();
    attr.set_post_ops(ops);

    const MemoryDesc a = onednn::strided(plan.a_shape, plan.a_strides);
    const MemoryDesc b = onednn::strided(plan.b_shape, plan.b_strides);
    const MemoryDesc c = onednn::plain(plan.c_shape);
    bias_ = spec.input("bias");
    if (bias_ >= 0) {
      Shape shape(plan.c_shape.size(), 1);
      if (spec.inputs[bias_].numel() != 1) shape.back() = plan.c_shape.back();
      if (spec.inputs[bias_].numel() != shape.back()) throw Unsupported("bias that is not one row");
      bias_desc_ = onednn::plain(shape);
    }
    const auto desc = onednn::matmul(a, b, bias_ >= 0 ? &bias_desc_ : nullptr, c, attr);
    primitive_ = dnnl::matmul(desc);
    bind(DNNL_ARG_SRC, a, a_);
    bind(DNNL_ARG_WEIGHTS, b, b_);
    bind(DNNL_ARG_DST, c, c_);
    if (bias_ >= 0) bind(DNNL_ARG_BIAS, bias_desc_, bias_memory_);
    scratch_bytes_ = desc.scratchpad_desc().get_size();
    bind(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc(), scratch_);
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (empty_) {
      if (!accumulate_) std::memset(outputs[0], 0, static_cast<size_t>(output_numel_) * sizeof(float));
      return;
    }
    a_.set_data_handle(const_cast<void*>(inputs[0]));
    b_.set_data_handle(const_cast<void*>(inputs[1]));
    c_.set_data_handle(outputs[0]);
    if (bias_ >= 0) bias_memory_.set_data_handle(const_cast<void*>(inputs[bias_]));
    if (scratch_bytes_) scratch_.set_data_handle(context.scratch);
    primitive_.execute(onednn::stream(), arguments_);
  }

 private:
  void bind(int argument, const MemoryDesc& desc, Memory& memory) {
    memory = Memory(desc, onednn::engine(), nullptr);
    arguments_.insert({argument, memory});
  }

  bool accumulate_;
  bool empty_ = false;
  int bias_ = -1;
  int64_t output_numel_ = 0;
  size_t scratch_bytes_ = 0;
  MemoryDesc bias_desc_;
  dnnl::matmul primitive_;
  Memory a_, b_, c_, bias_memory_, scratch_;
  std::unordered_map<int, Memory> arguments_;
};

}  // namespace

void register_matmul_kernels() {
  const KernelFactory factory = [](const NodeSpec& spec) -> std::unique_ptr<Kernel> {
    return std::make_unique<MatMul>(spec);
  };
  register_kernel("BatchMatMul", factory);
  register_kernel("_FusedMatMul", factory);
}

}  // namespace merak
