// BatchMatMul and _FusedMatMul in bfloat16: which operands, which finish; the product itself is a Bf16Product.
#include "ops/cpu/matmul_bf16.h"

#include <cstring>  // memset

#include "ops/cpu/bf16_product.h"
#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/matmul_plan.h"  // shapes

namespace merak {
namespace {

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }
bool is_narrow(const TensorType& type) { return type.dtype == DType::bf16; }

// The operand as it lies in memory, before any transposition.
Matrix stored(const TensorType& type, size_t rows, size_t columns, bool transposed) {
  if (transposed) std::swap(rows, columns);
  return {nullptr, type.dtype == DType::f32, rows, columns, columns};
}

// What a node says of its finish; addresses come with each run.
struct FinishPlan {
  int bias, residual, point;
  Finish finish;
  bool activates;

  FinishPlan(const NodeSpec& spec, size_t m, size_t n)
      : bias(spec.input("bias")), residual(spec.input("residual")), point(spec.input("point")), activates(spec.outputs.size() > 1) {
    const auto matrix = static_cast<int64_t>(m * n);
    const auto type = [&](int input) -> const TensorType& { return spec.inputs[static_cast<size_t>(input)]; };
    require(bias < 0 || (type(bias).numel() == int64_t(n) && type(bias).dtype == DType::f32), "bias must be one float32 row");
    require(residual < 0 || (type(residual).numel() == matrix && type(residual).dtype == DType::f32), "residual must be float32, as large as the result");
    require(point < 0 || (type(point).numel() == matrix && is_float(type(point).dtype)), "point must be as large as the result");
    const std::string gelu = spec.attrs.text("gelu", "");
    require(gelu.empty() || gelu == "tanh" || gelu == "none", "gelu must be 'tanh' or 'none'");
    require(gelu.empty() == (point < 0 && !activates), "gelu needs a second output or a point, and they need gelu");
    require(point < 0 || !activates, "gelu and its gradient exclude each other");
    for (const TensorType& output : spec.outputs) require(is_float(output.dtype) && output.numel() == matrix, "outputs must be float matrices");
    finish.stride = n;
    finish.gelu = gelu.empty() ? Finish::Gelu::none : gelu == "tanh" ? Finish::Gelu::tanh : Finish::Gelu::erf;
    finish.narrow_point = point >= 0 && is_narrow(type(point));
    finish.narrow_out = is_narrow(spec.outputs[0]);
    finish.narrow_activated = activates && is_narrow(spec.outputs[1]);
  }

  bool is_plain() const { return bias < 0 && residual < 0 && point < 0 && !activates && !finish.narrow_out; }

  Finish at(const void* const* inputs, void* const* outputs) const {
    Finish one = finish;
    if (bias >= 0) one.bias = static_cast<const float*>(inputs[bias]);
    if (residual >= 0) one.residual = static_cast<const float*>(inputs[residual]);
    if (point >= 0) one.point = inputs[point];
    one.out = outputs[0];
    if (activates) one.activated = outputs[1];
    return one;
  }
};

std::unique_ptr<Bf16Product> product_of(const Bf16ProductPlan& plan, const NodeSpec& spec) {
  try {
    return make_tile_product(plan, spec);
  } catch (const Unsupported&) {
  }
  try {
    return make_onednn_product(plan, spec);
  } catch (const Unsupported&) {
    return make_widened_product(plan, spec);
  }
}

class Bf16MatMul final : public Kernel {
 public:
  Bf16MatMul(const NodeSpec& spec, const Bf16ProductPlan& plan)
      : plan_(plan), finish_(spec, plan.m, plan.n) {
    plan_.is_plain = finish_.is_plain();
    require(!plan_.accumulate || plan_.is_plain, "only a plain float32 product adds to its output");
    if (plan.m * plan.n * plan.k != 0) product_ = product_of(plan_, spec);
    else require(plan_.is_plain || plan.m * plan.n == 0, "an empty product has no finish");
  }

  size_t scratch_bytes() const override { return product_ ? product_->scratch_bytes() : 0; }
  size_t kept_bytes() const override { return product_ ? product_->kept_bytes() : 0; }
  void prepare() override {
    if (product_) product_->prepare();
  }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (product_) product_->run(inputs[0], inputs[1], finish_.at(inputs, outputs), context);
    else if (!plan_.accumulate) std::memset(outputs[0], 0, plan_.m * plan_.n * sizeof(float));
  }

 private:
  Bf16ProductPlan plan_;
  FinishPlan finish_;
  std::unique_ptr<Bf16Product> product_;
};

}  // namespace

std::optional<DType> narrow_operands(const NodeSpec& spec) {
  for (size_t i = 0; i < 2 && i < spec.inputs.size(); i++)
    if (is_half(spec.inputs[i].dtype)) return spec.inputs[i].dtype;
  const std::string precision = spec.attrs.text("precision", "f32");
  if (precision != "bf16" && precision != "f16") return std::nullopt;
  const bool is_one = spec.inputs[0].dtype == DType::f32 && spec.attrs.text("activation", "linear") == "linear" && plan_matmul(spec).c_shape.size() == 2;
  return is_one ? std::optional(precision == "bf16" ? DType::bf16 : DType::f16) : std::nullopt;
}

std::unique_ptr<Kernel> make_bf16_matmul(const NodeSpec& spec) {
  require(is_float(spec.inputs[0].dtype) && is_float(spec.inputs[1].dtype), "only float operands");
  require(spec.attrs.text("activation", "linear") == "linear", "a bf16 product takes no activation");
  const MatMulPlan shapes = plan_matmul(spec);
  require(shapes.c_shape.size() == 2, "only products of two matrices in bf16");
  Bf16ProductPlan plan{};
  plan.m = static_cast<size_t>(shapes.c_shape[0]);
  plan.n = static_cast<size_t>(shapes.c_shape[1]);
  plan.k = static_cast<size_t>(shapes.a_shape[1]);
  plan.transpose_a = spec.attrs.flag("transposeA", false);
  plan.transpose_b = spec.attrs.flag("transposeB", false);
  plan.a = stored(spec.inputs[0], plan.m, plan.k, plan.transpose_a);
  plan.b = stored(spec.inputs[1], plan.k, plan.n, plan.transpose_b);
  plan.accumulate = spec.attrs.flag("accumulate", false);
  return std::make_unique<Bf16MatMul>(spec, plan);
}

}  // namespace merak
