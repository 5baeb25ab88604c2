// BatchMatMul and _FusedMatMul through oneDNN. Beside tfjs's attributes both take `accumulate` (engine only): output += product.
#include <algorithm>  // std::fill
#include <cstring>    // memset
#include <unordered_map>  // primitive arguments

#include "ops/cpu/dnnl.h"
#include "ops/cpu/integer_matmul.h"
#include "ops/cpu/kept_weight.h"   // KeptWeight
#include "ops/cpu/matmul_bf16.h"   // bf16 products
#include "ops/cpu/matmul_plan.h"   // shapes
#include "ops/cpu/panel_matmul.h"  // products of few rows

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

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
  MatMul(const NodeSpec& spec, const MatMulPlan& plan) : accumulate_(spec.attrs.flag("accumulate", false)) {
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
    // A large right operand is packed by us, once per product: 3 to 8 % faster than oneDNN's packing it tile by tile (2.6, AVX-512).
    const bool packs = plan.c_shape.size() == 2 && plan.c_shape[0] >= (spec.attrs.flag("weightStays", false) ? kKeptRows : kPackRows) && plan.a_shape[1] * plan.c_shape[1] >= kPackSize;
    const MemoryDesc wanted = packs ? onednn::any(plan.b_shape) : b;
    const auto desc = onednn::matmul(a, wanted, bias_ >= 0 ? &bias_desc_ : nullptr, c, attr);
    primitive_ = dnnl::matmul(desc);
    bind(DNNL_ARG_SRC, a, a_);
    bind(DNNL_ARG_WEIGHTS, desc.weights_desc(), b_);
    bind(DNNL_ARG_DST, c, c_);
    if (bias_ >= 0) bind(DNNL_ARG_BIAS, bias_desc_, bias_memory_);
    scratch_bytes_ = desc.scratchpad_desc().get_size();
    bind(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc(), scratch_);
    if (desc.weights_desc() != b) {
      packs_ = true;
      packed_at_ = (scratch_bytes_ + 63) / 64 * 64;
      const std::string layout = "oneDNN's for " + std::to_string(plan.c_shape[0]) + " rows of " + std::to_string(plan.a_shape[1]);
      weight_ = KeptWeight(spec, desc.weights_desc().get_size(), plan.c_shape[0], layout + (spec.attrs.flag("transposeB", false) ? ", transposed" : ""));
      if (!weight_.stays()) scratch_bytes_ = packed_at_ + desc.weights_desc().get_size();
      unpacked_ = Memory(b, onednn::engine(), nullptr);
      pack_ = dnnl::reorder(unpacked_, b_);
    }
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }
  void prepare() override { weight_.prepare(); }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (empty_) {
      if (!accumulate_) std::memset(outputs[0], 0, static_cast<size_t>(output_numel_) * sizeof(float));
      return;
    }
    a_.set_data_handle(const_cast<void*>(inputs[0]));
    if (packs_) {
      unpacked_.set_data_handle(const_cast<void*>(inputs[1]));
      const auto pack = [&](void* packed) {
        b_.set_data_handle(packed);
        pack_.execute(onednn::stream(), unpacked_, b_);
      };
      b_.set_data_handle(weight_.get(context, static_cast<std::byte*>(context.scratch) + packed_at_, pack));
    } else {
      b_.set_data_handle(const_cast<void*>(inputs[1]));
    }
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

  static constexpr int64_t kPackRows = 128, kKeptRows = 16;
  static constexpr int64_t kPackSize = 128 * 128;

  bool accumulate_;
  bool packs_ = false;
  KeptWeight weight_;
  size_t packed_at_ = 0;
  Memory unpacked_;
  dnnl::reorder pack_;
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
    if (spec.inputs.at(0).dtype == DType::i32) return make_integer_matmul(spec);
    if (multiplies_in_bf16(spec)) return make_bf16_matmul(spec);
    for (const TensorType& input : spec.inputs)
      if (input.dtype != DType::f32) throw Unsupported("only float32 operands");
    const MatMulPlan plan = plan_matmul(spec);
    if (gains_by_panels(spec, plan)) return make_panel_matmul(spec, plan);
    return std::make_unique<MatMul>(spec, plan);
  };
  register_kernel("BatchMatMul", factory);
  register_kernel("_FusedMatMul", factory);
  register_kernel("MerakProduct", make_bf16_matmul);
}

}  // namespace merak
