// Products of few rows: the weight in panels, packed once per step where several products read it, else once per product.
#include "ops/cpu/panel_matmul.h"

#include <algorithm>  // std::copy_n, std::fill_n

#include "ops/cpu/kept_weight.h"    // KeptWeight
#include "ops/cpu/panel_product.h"  // multiply_by_panels

namespace merak {
namespace {

ProductSizes sizes_of(const MatMulPlan& plan) { return {plan.a_shape[0], plan.a_shape[1], plan.c_shape[1], plan.b_strides[1] != 1}; }

class PanelMatMul final : public Kernel {
 public:
  PanelMatMul(const NodeSpec& spec, const MatMulPlan& plan)
      : rows_(static_cast<size_t>(plan.c_shape[0])), row_stride_(static_cast<size_t>(plan.b_strides[0])),
        column_stride_(static_cast<size_t>(plan.b_strides[1])), bias_(spec.input("bias")) {
    product_.row_stride = static_cast<size_t>(plan.a_strides[0]);
    product_.depth_stride = static_cast<size_t>(plan.a_strides[1]);
    product_.inner = static_cast<size_t>(plan.a_shape[1]);
    product_.columns = static_cast<size_t>(plan.c_shape[1]);
    product_.accumulate = bias_ >= 0 || spec.attrs.flag("accumulate", false);
    if (bias_ >= 0) {
      bias_size_ = static_cast<size_t>(spec.inputs[bias_].numel());
      if (bias_size_ != 1 && bias_size_ != product_.columns) throw Unsupported("bias that is not one row");
      if (spec.attrs.flag("accumulate", false)) throw Unsupported("bias on a product that is added");
    }
    const size_t bytes = panel_bytes(product_.inner, product_.columns);
    if (gains_by_kept_panels(spec, sizes_of(plan))) weight_ = KeptWeight(spec, bytes, plan.c_shape[0], column_stride_ == 1 ? "panels" : "panels of the transpose");
    scratch_bytes_ = weight_.stays() ? 0 : bytes;
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }
  void prepare() override { weight_.prepare(); }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    PanelProduct product = product_;
    product.a = static_cast<const float*>(inputs[0]);
    product.c = static_cast<float*>(outputs[0]);
    product.panels = static_cast<const float*>(weight_.get(context, context.scratch, [&](void* panels) {
      pack_into_panels(static_cast<const float*>(inputs[1]), row_stride_, column_stride_, product.inner, product.columns, static_cast<float*>(panels));
    }));
    if (bias_ >= 0) {
      const auto* bias = static_cast<const float*>(inputs[bias_]);
      for (size_t row = 0; row < rows_; row++) {
        float* c = product.c + row * product.columns;
        if (bias_size_ == 1) std::fill_n(c, product.columns, *bias);
        else std::copy_n(bias, product.columns, c);
      }
    }
    multiply_by_panels(product, rows_);
  }

 private:
  size_t rows_, row_stride_, column_stride_, scratch_bytes_ = 0, bias_size_ = 0;
  int bias_;
  PanelProduct product_{};  // without addresses
  KeptWeight weight_;
};

}  // namespace

bool gains_by_panels(const NodeSpec& spec, const MatMulPlan& plan) {
  if (plan.c_shape.size() != 2 || plan.a_strides[1] != 1 || spec.attrs.text("activation", "linear") != "linear") return false;
  return gains_by_kept_panels(spec, sizes_of(plan)) || gains_by_panels(sizes_of(plan));
}

std::unique_ptr<Kernel> make_panel_matmul(const NodeSpec& spec, const MatMulPlan& plan) { return std::make_unique<PanelMatMul>(spec, plan); }

}  // namespace merak
