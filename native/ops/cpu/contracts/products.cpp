// Matrix products: in float32, int32 and bfloat16, with what is fused to them, and in int8.
#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/matmul_bf16.h"       // narrow_operands
#include "ops/cpu/matmul_plan.h"       // plan_matmul

namespace merak::contracts {
namespace {

void multiplies(const NodeSpec& spec) {
  require(spec.inputs.size() >= 2, "a product needs two operands");
  for (size_t i = 0; i < 2; i++) require(spec.inputs[i].dtype != DType::i8, "a product takes no int8");
  double size = 1;
  for (const int64_t dim : plan_matmul(spec).c_shape) size *= static_cast<double>(dim);
  require(size == static_cast<double>(out(spec).numel()), "the result does not fit the operands");
  if (narrow_operands(spec)) return;  // whose finish looks at the rest
  require(spec.outputs.size() == 1 && spec.inputs.size() <= 3 && (spec.inputs.size() == 3) == (spec.input("bias") == 2),
          "a product takes a bias and nothing else");
  require(out(spec).dtype == (spec.inputs[0].dtype == DType::i32 ? DType::i32 : DType::f32), "the result has the wrong dtype");
}

void multiplies_quantised(const NodeSpec& spec) {
  const TensorType &a = in(spec, "a"), &b = in(spec, "b");
  require(!a.shape.empty() && b.shape.size() == 2 && a.shape.back() > 0, "a must be [..., inner], b [inner, columns]");
  const double size = static_cast<double>(a.numel()) / static_cast<double>(a.shape.back()) * static_cast<double>(b.shape[1]);
  require(size == static_cast<double>(out(spec).numel()), "the result does not fit the operands");
}

}  // namespace

void add_product_rules(Rules& rules) {
  rules.add({"BatchMatMul", "_FusedMatMul"}, multiplies);
  rules.add({"MerakProduct"}, [](const NodeSpec& s) {
    require(s.inputs.size() >= 2 && narrow_operands(s).has_value(), "a product with a finish multiplies in 16 bits");
    multiplies(s);
  });
  rules.add({"MerakQuantisedMatMul"}, multiplies_quantised);
  rules.add({"Einsum", "MerakColumnSum"}, [](const NodeSpec& s) { is_float(out(s)); });
}

}  // namespace merak::contracts
