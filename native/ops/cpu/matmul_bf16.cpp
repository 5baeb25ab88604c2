// Products of two matrices in bfloat16 through oneDNN (AMX or AVX-512 where the processor has them), sums in float32. Operands that
// are float32 are rounded on the way into the layout that the product wants, so that rounding costs no pass of its own.
#include "ops/cpu/matmul_bf16.h"

#include <algorithm>      // std::min
#include <cstring>        // memset
#include <unordered_map>  // primitive arguments

#include "ops/cpu/dnnl.h"         // oneDNN
#include "ops/cpu/isa/bf16.h"     // packing
#include "ops/cpu/kept_weight.h"  // KeptWeight
#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/matmul_plan.h"  // shapes
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

constexpr auto kBf16 = Memory::data_type::bf16;

size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

// The operand as it lies in memory, before any transposition.
Matrix stored(const TensorType& type, size_t rows, size_t columns, bool transposed) {
  if (transposed) std::swap(rows, columns);
  return {nullptr, type.dtype == DType::f32, rows, columns, columns};
}

class Bf16MatMul : public Kernel {
 public:
  explicit Bf16MatMul(const NodeSpec& spec) : accumulate_(spec.attrs.flag("accumulate", false)) {
    require(is_float(spec.inputs[0].dtype) && is_float(spec.inputs[1].dtype), "only float operands");
    require(spec.outputs[0].dtype == DType::f32, "a bf16 product has a float32 result");
    require(spec.attrs.text("activation", "linear") == "linear", "a bf16 product takes no activation");
    const MatMulPlan plan = plan_matmul(spec);
    require(plan.c_shape.size() == 2, "only products of two matrices in bf16");
    m_ = static_cast<size_t>(plan.c_shape[0]);
    n_ = static_cast<size_t>(plan.c_shape[1]);
    k_ = static_cast<size_t>(plan.a_shape[1]);
    transpose_a_ = spec.attrs.flag("transposeA", false);
    transpose_b_ = spec.attrs.flag("transposeB", false);
    a_ = stored(spec.inputs[0], m_, k_, transpose_a_);
    b_ = stored(spec.inputs[1], k_, n_, transpose_b_);
    if (m_ * n_ * k_ == 0) {
      require(spec.inputs.size() == 2 || m_ * n_ == 0, "bias on an empty product");
      return;
    }
    dnnl::post_ops ops;
    if (accumulate_) ops.append_sum(1.0f);
    dnnl::primitive_attr attr = onednn::attributes();
    attr.set_post_ops(ops);

    // A float32 or transposed left operand is rounded into rows of its own.
    copies_a_ = a_.wide || transpose_a_;
    const MemoryDesc a({int64_t(m_), int64_t(k_)}, kBf16, Shape{int64_t(k_), 1});
    const MemoryDesc b({int64_t(k_), int64_t(n_)}, kBf16, Memory::format_tag::BA16a64b2a);
    const MemoryDesc c = onednn::plain({int64_t(m_), int64_t(n_)});
    MemoryDesc bias;
    bias_ = spec.input("bias");
    if (bias_ >= 0) {
      require(spec.inputs[bias_].numel() == int64_t(n_) && spec.inputs[bias_].dtype == DType::f32, "bias must be one float32 row");
      bias = onednn::plain({1, int64_t(n_)});
    }
    const auto desc = onednn::matmul(a, b, bias_ >= 0 ? &bias : nullptr, c, attr);
    primitive_ = dnnl::matmul(desc);
    bind(DNNL_ARG_SRC, a, source_);
    bind(DNNL_ARG_WEIGHTS, b, weights_);
    bind(DNNL_ARG_DST, c, result_);
    if (bias_ >= 0) bind(DNNL_ARG_BIAS, bias, bias_memory_);
    bind(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc(), scratch_);
    packed_at_ = up(desc.scratchpad_desc().get_size(), 64);
    const size_t packed_bytes = packed_strips(n_) * packed_strip_size(k_) * sizeof(uint16_t);
    weight_ = KeptWeight(spec, packed_bytes, static_cast<int64_t>(m_));
    copied_at_ = packed_at_ + (weight_.stays() ? 0 : packed_bytes);
    scratch_bytes_ = copied_at_ + (copies_a_ ? m_ * k_ * sizeof(uint16_t) : 0);
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (m_ * n_ * k_ == 0) {
      if (!accumulate_) std::memset(outputs[0], 0, m_ * n_ * sizeof(float));
      return;
    }
    auto* scratch = static_cast<std::byte*>(context.scratch);
    auto* copied = reinterpret_cast<uint16_t*>(scratch + copied_at_);
    if (copies_a_) copy(inputs[0], copied);
    source_.set_data_handle(copies_a_ ? copied : const_cast<void*>(inputs[0]));
    weights_.set_data_handle(
        weight_.get(context, scratch + packed_at_, [&](void* packed) { pack(inputs[1], static_cast<uint16_t*>(packed)); }));
    result_.set_data_handle(outputs[0]);
    if (bias_ >= 0) bias_memory_.set_data_handle(const_cast<void*>(inputs[bias_]));
    scratch_.set_data_handle(scratch);
    primitive_.execute(onednn::stream(), arguments_);
  }

 private:
  void bind(int argument, const MemoryDesc& desc, Memory& memory) {
    memory = Memory(desc, onednn::engine(), nullptr);
    arguments_.insert({argument, memory});
  }

  void pack(const void* data, uint16_t* packed) const {
    Matrix b = b_;
    b.data = data;
    const auto rows = MERAK_PICK(pack_rows);
    const auto grain = static_cast<int64_t>(up(std::max<size_t>(1, 2 * kParallelGrain / b.columns), 16));
    parallel_for(static_cast<int64_t>(b.rows), grain, [&](int64_t begin, int64_t end) {
      rows(b, transpose_b_, static_cast<size_t>(begin), static_cast<size_t>(end), packed);
    });
  }

  void copy(const void* data, uint16_t* copied) const {
    if (transpose_a_) {
      Matrix a = a_;
      a.data = data;
      const auto transpose = MERAK_PICK(transpose_to_bf16);
      parallel_for(static_cast<int64_t>(m_), 64, [&](int64_t begin, int64_t end) {
        transpose(a, static_cast<size_t>(begin), static_cast<size_t>(end), copied, k_);
      });
      return;
    }
    const auto* rows = static_cast<const float*>(data);
    const auto round = MERAK_PICK(to_bf16);
    const int64_t grain = std::max<int64_t>(1, kParallelGrain / static_cast<int64_t>(k_));
    parallel_for(static_cast<int64_t>(m_), grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) round(rows + r * int64_t(k_), copied + r * int64_t(k_), k_);
    });
  }

  bool accumulate_, transpose_a_ = false, transpose_b_ = false, copies_a_ = false;
  size_t m_ = 0, n_ = 0, k_ = 0;
  Matrix a_{}, b_{};
  int bias_ = -1;
  KeptWeight weight_;
  size_t packed_at_ = 0, copied_at_ = 0, scratch_bytes_ = 0;
  dnnl::matmul primitive_;
  Memory source_, weights_, result_, bias_memory_, scratch_;
  std::unordered_map<int, Memory> arguments_;
};

}  // namespace

bool multiplies_in_bf16(const NodeSpec& spec) {
  for (size_t i = 0; i < 2 && i < spec.inputs.size(); i++)
    if (spec.inputs[i].dtype == DType::bf16) return true;
  return spec.attrs.text("precision", "f32") == "bf16" && spec.inputs[0].dtype == DType::f32 &&
         spec.attrs.text("activation", "linear") == "linear" && plan_matmul(spec).c_shape.size() == 2;
}

std::unique_ptr<Kernel> make_bf16_matmul(const NodeSpec& spec) { return std::make_unique<Bf16MatMul>(spec); }

}  // namespace merak
