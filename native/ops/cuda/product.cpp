// BatchMatMul, _FusedMatMul and MerakProduct on CUDA. The first two also take `accumulate` (engine only): output += product.
#include <optional>  // ways

#include "cuda/rounded_weights.h"  // RoundedWeight
#include "ops/cpu/matmul_bf16.h"   // narrow_operands
#include "ops/cpu/matmul_plan.h"
#include "ops/cpu/shape.h"  // product
#include "ops/cuda/activation.h"
#include "ops/cuda/integer_product.h"
#include "ops/cuda/lt_product.h"

namespace merak {
namespace {

using namespace cuda;

// An operand in 16 bits: where it lies, as a weight's copy, or rounded into scratch first.
struct Narrow {
  size_t input;
  int64_t count;
  std::shared_ptr<RoundedWeight> copy = nullptr;
  CUfunction convert = nullptr;  // null: nothing to do
  size_t scratch_at = 0;

  const void* get(Device& device, const void* const* in, RunContext& context) const {
    if (copy) return copy->memory.data;
    if (!convert) return in[input];
    void* rounded = at(context.scratch, scratch_at);
    device.launch(convert, {blocks_for(count, 1024)}, {256}, 0, stream_of(context), {&in[input], &rounded, &count});
    return rounded;
  }
};

class Scratch {
 public:
  size_t take(size_t bytes) {
    const size_t begin = bytes_;
    bytes_ += rounded_up(bytes);
    return begin;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

Narrow narrow(Device& device, const NodeSpec& spec, size_t input, DType type, Scratch& scratch) {
  Narrow operand{input, spec.inputs[input].numel()};
  if (spec.inputs[input].dtype == type) return operand;
  require(spec.inputs[input].dtype == DType::f32, "operands are of two 16-bit types");
  if (spec.rounded && input < spec.parameter_at.size() && spec.parameter_at[input] >= 0)
    operand.copy = spec.rounded->at(spec.parameter_at[input], operand.count, type);
  if (operand.copy) return operand;
  operand.convert = device.function("convert", "convert", {define("FROM", DType::f32), define("TO", type)});
  operand.scratch_at = scratch.take(static_cast<size_t>(operand.count) * 2);
  return operand;
}

// What a node asks for beside the product.
struct Finish {
  int bias, residual, point;
  bool activates, accumulates;
  int gelu;  // 0 none, 1 tanh, 2 erf
  DType out, activated, point_type;
  int64_t n;

  Finish(const NodeSpec& spec, int64_t m, int64_t n_)
      : bias(spec.input("bias")), residual(spec.input("residual")), point(spec.input("point")), activates(spec.outputs.size() > 1),
        accumulates(spec.attrs.flag("accumulate", false)), out(spec.outputs[0].dtype), activated(activates ? spec.outputs[1].dtype : DType::f32), n(n_) {
    const auto type = [&](int input) -> const TensorType& { return spec.inputs[static_cast<size_t>(input)]; };
    require(bias < 0 || (type(bias).numel() == n && type(bias).dtype == DType::f32), "bias must be one float32 row");
    require(residual < 0 || (type(residual).numel() == m * n && type(residual).dtype == DType::f32), "residual must be float32, as large as the result");
    require(point < 0 || (type(point).numel() == m * n && is_float(type(point).dtype)), "point must be as large as the result");
    point_type = point < 0 ? DType::f32 : type(point).dtype;
    const std::string name = spec.attrs.text("gelu", "");
    require(name.empty() || name == "tanh" || name == "none", "gelu must be 'tanh' or 'none'");
    require(name.empty() == (point < 0 && !activates), "gelu needs a second output or a point, and they need gelu");
    require(point < 0 || !activates, "gelu and its gradient exclude each other");
    for (const TensorType& output : spec.outputs) require(is_float(output.dtype) && output.numel() == m * n, "outputs must be float matrices");
    gelu = name.empty() ? 0 : name == "tanh" ? 1 : 2;
    require(!accumulates || is_plain(), "only a plain float32 product adds to its output");
  }
  bool is_plain() const { return bias < 0 && residual < 0 && point < 0 && !activates && out == DType::f32; }
};

// The whole finish inside cuBLASLt, where it has one: bias, a float32 residual, gelu by tanh of and to 16 bits, its gradient.
std::optional<LtPlan> joined(LtPlan plan, const Finish& finish) {
  const DType type = plan.operands;
  plan.result = finish.out;
  plan.has_bias = finish.bias >= 0;
  if (finish.residual >= 0 && (finish.out != DType::f32 || finish.gelu)) return std::nullopt;
  if (!finish.gelu) return plan;
  // cuBLASLt keeps and reads the point of gelu in the result's type, in rows of whole 16 bytes.
  if (finish.gelu != 1 || plan.n % 8 != 0 || finish.out != type) return std::nullopt;
  if (finish.activates && finish.activated == type) plan.gelu = LtPlan::Gelu::forward;
  else if (finish.point >= 0 && finish.bias < 0 && finish.point_type == type) plan.gelu = LtPlan::Gelu::gradient;
  else return std::nullopt;
  return plan;
}

class NarrowProduct final : public Kernel {
 public:
  NarrowProduct(const NodeSpec& spec, DType type, Device& device, const LtPlan& shape)
      : device_(device),
        finish_(spec, shape.m, shape.n),
        count_(shape.m * shape.n),
        a_(narrow(device, spec, 0, type, scratch_)),
        b_(narrow(device, spec, 1, type, scratch_)) {
    LtPlan plan = shape;
    plan.operands = type;
    if (count_ == 0) return;
    require(shape.k > 0 || finish_.is_plain(), "an empty product has no finish");
    if (shape.k == 0) return;
    try {
      if (const auto whole = joined(plan, finish_)) {
        product_ = LtProduct(device, *whole);
        is_joined_ = true;
        // A bias has the result's dtype.
        if (finish_.bias >= 0 && finish_.out == type) bias_ = narrow(device, spec, static_cast<size_t>(finish_.bias), type, scratch_);
      }
    } catch (const Unsupported&) {
    }
    if (!is_joined_) {
      plan.result = DType::f32;
      product_ = LtProduct(device, plan);
      const int64_t vector = vector_of(shape.n);
      per_block_ = 256 * vector;
      finisher_ = device.function("finish", "finish", {define("OUT", finish_.out), define("POINT", finish_.point_type), define("ACTIVATED", finish_.activated),
                                                       define("GELU", finish_.gelu), define("VECTOR", vector)});
      if (finish_.out != DType::f32) sums_at_ = scratch_.take(static_cast<size_t>(count_) * sizeof(float));
    }
    workspace_at_ = scratch_.take(product_.scratch_bytes());
  }

  size_t scratch_bytes() const override { return scratch_.bytes(); }

  void run(const void* const* in, void* const* out, RunContext& context) override {
    const CUstream stream = stream_of(context);
    if (count_ == 0) return;
    if (!is_joined_ && !finisher_) {
      if (!finish_.accumulates) set_zero(out[0], static_cast<size_t>(count_) * sizeof(float), stream);
      return;
    }
    const void *a = a_.get(device_, in, context), *b = b_.get(device_, in, context);
    void* workspace = at(context.scratch, workspace_at_);
    const void* residual = finish_.residual < 0 ? nullptr : in[finish_.residual];
    if (is_joined_) {
      const void* bias = finish_.bias < 0 ? nullptr : bias_ ? bias_->get(device_, in, context) : in[finish_.bias];
      const bool activates = finish_.activates;
      void* d = activates ? out[1] : out[0];
      void* aux = activates ? out[0] : finish_.point < 0 ? nullptr : const_cast<void*>(in[finish_.point]);
      const void* c = residual ? residual : d;
      return product_.run(a, b, residual || finish_.accumulates ? 1.0f : 0.0f, c, d, bias, aux, workspace, stream);
    }
    void* sums = finish_.out == DType::f32 ? out[0] : at(context.scratch, sums_at_);
    product_.run(a, b, 0.0f, sums, sums, nullptr, nullptr, workspace, stream);
    const void* bias = finish_.bias < 0 ? nullptr : in[finish_.bias];
    const void* point = finish_.point < 0 ? nullptr : in[finish_.point];
    void* activated = finish_.activates ? out[1] : nullptr;
    const int width = static_cast<int>(finish_.n);
    device_.launch(finisher_, {blocks_for(count_, per_block_)}, {256}, 0, stream, {&sums, &bias, &residual, &point, &out[0], &activated, &count_, &width});
  }

 private:
  Device& device_;
  Finish finish_;
  int64_t count_, per_block_ = 0;
  Scratch scratch_;
  Narrow a_, b_;
  std::optional<Narrow> bias_;
  LtProduct product_;
  bool is_joined_ = false;
  CUfunction finisher_ = nullptr;
  size_t sums_at_ = 0, workspace_at_ = 0;
};

// A product in float32, perhaps of many matrices, with bias and activation.
class FloatProduct final : public Kernel {
 public:
  FloatProduct(const NodeSpec& spec, Device& device, const MatMulPlan& shapes, const LtPlan& shape)
      : bias_(spec.input("bias")), accumulates_(spec.attrs.flag("accumulate", false)), bytes_(spec.outputs[0].bytes()) {
    for (const TensorType& input : spec.inputs) require(input.dtype == DType::f32, "only float32 operands");
    require(spec.outputs[0].dtype == DType::f32, "the result must be float32");
    if (bytes_ == 0) return;
    require(shape.k > 0 || bias_ < 0, "an empty product has no bias");
    if (shape.k == 0) return;
    LtPlan plan = shape;
    plan.tf32 = spec.attrs.text("precision", "f32") == "tf32";
    plan.has_bias = bias_ >= 0;
    require(bias_ < 0 || spec.inputs[static_cast<size_t>(bias_)].numel() == plan.n, "bias must be one row");
    // Batch dims but the last one are gone through here; the last one is cuBLASLt's.
    const size_t rank = shapes.c_shape.size();
    Shape outer(shapes.c_shape.begin(), shapes.c_shape.end() - std::min<int64_t>(3, static_cast<int64_t>(rank)));
    const auto step = [&](const Shape& own, int64_t matrix, size_t dim) {
      if (own[dim] == 1) return int64_t{0};
      return matrix * merak::product(own, dim + 1, rank - 2);
    };
    const int64_t a_matrix = plan.m * plan.k, b_matrix = plan.k * plan.n;
    if (rank > 2) {
      plan.batch = shapes.c_shape[rank - 3];
      plan.a_stride = step(shapes.a_shape, a_matrix, rank - 3);
      plan.b_stride = step(shapes.b_shape, b_matrix, rank - 3);
      plan.d_stride = plan.m * plan.n;
    }
    const int64_t count = numel(outer);
    for (int64_t i = 0; i < count; i++) {
      int64_t rest = i, a_at = 0, b_at = 0;
      for (size_t d = outer.size(); d-- > 0;) {
        a_at += rest % outer[d] * step(shapes.a_shape, a_matrix, d);
        b_at += rest % outer[d] * step(shapes.b_shape, b_matrix, d);
        rest /= outer[d];
      }
      places_.push_back({a_at, b_at, i * plan.batch * plan.m * plan.n});
    }
    product_.emplace(device, plan);
    activation_ = make_activation(spec, device);
  }

  size_t scratch_bytes() const override { return product_ ? product_->scratch_bytes() : 0; }

  void run(const void* const* in, void* const* out, RunContext& context) override {
    if (!product_) {
      if (!accumulates_) set_zero(out[0], bytes_, stream_of(context));
      return;
    }
    const void* bias = bias_ < 0 ? nullptr : in[bias_];
    for (const Place& place : places_) {
      float* d = static_cast<float*>(out[0]) + place.d;
      product_->run(static_cast<const float*>(in[0]) + place.a, static_cast<const float*>(in[1]) + place.b, accumulates_ ? 1.0f : 0.0f, d, d, bias, nullptr,
                    context.scratch, stream_of(context));
    }
    const void* made[] = {out[0]};
    if (activation_) activation_->run(made, out, context);
  }

 private:
  struct Place {
    int64_t a, b, d;
  };
  int bias_;
  bool accumulates_;
  size_t bytes_;
  std::vector<Place> places_;
  std::optional<LtProduct> product_;
  std::unique_ptr<Kernel> activation_;
};

std::unique_ptr<Kernel> make_product(const NodeSpec& spec, Device& device) {
  if (spec.inputs.at(0).dtype == DType::i32) return make_integer_product(spec, device);
  const MatMulPlan shapes = plan_matmul(spec);
  const size_t rank = shapes.c_shape.size();
  LtPlan plan;
  plan.m = shapes.c_shape[rank - 2];
  plan.n = shapes.c_shape[rank - 1];
  plan.k = shapes.a_shape[rank - 1];
  plan.transpose_a = spec.attrs.flag("transposeA", false);
  plan.transpose_b = spec.attrs.flag("transposeB", false);
  if (const std::optional<DType> type = narrow_operands(spec)) {
    require(rank == 2 && spec.attrs.text("activation", "linear") == "linear", "a product in 16 bits is one of two matrices, without activation");
    return std::make_unique<NarrowProduct>(spec, *type, device, plan);
  }
  return std::make_unique<FloatProduct>(spec, device, shapes, plan);
}

}  // namespace

void register_cuda_products() {
  for (const char* name : {"BatchMatMul", "_FusedMatMul", "MerakProduct"}) register_cuda_kernel(name, make_product);
}

}  // namespace merak
