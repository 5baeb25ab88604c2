// The plans of einsum_plan.h. Outputs are explicit: tracing writes them out.
#include "ops/cpu/einsum_plan.h"

#include <map>  // label sizes

#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/shape.h"        // strides

namespace merak {
namespace {

struct Equation {
  std::vector<std::string> operands;
  std::string output;
  std::map<char, int64_t> size;
};

Equation parse(const NodeSpec& spec) {
  std::string text;
  for (const char c : spec.attrs.text("equation", ""))
    if (c != ' ') text += c;
  const size_t arrow = text.find("->");
  require(arrow != std::string::npos && text.find('.') == std::string::npos, "the equation needs '->' and no ellipsis");
  Equation equation;
  equation.operands.emplace_back();
  for (const char c : text.substr(0, arrow)) {
    if (c == ',') equation.operands.emplace_back();
    else equation.operands.back() += c;
  }
  equation.output = text.substr(arrow + 2);
  require(equation.operands.size() == spec.inputs.size(), "the equation has another number of operands");
  for (size_t k = 0; k < spec.inputs.size(); k++) {
    require(equation.operands[k].size() == spec.inputs[k].shape.size(), "a term has another number of dims than its operand");
    require(spec.inputs[k].dtype == DType::f32, "operands must be float32");
    for (size_t d = 0; d < equation.operands[k].size(); d++) {
      const auto [found, fresh] = equation.size.emplace(equation.operands[k][d], spec.inputs[k].shape[d]);
      require(fresh || found->second == spec.inputs[k].shape[d], "a label has two sizes");
    }
  }
  for (const char label : equation.output) require(equation.size.count(label) == 1, "the output has a label no operand has");
  return equation;
}

bool has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

bool distinct(const std::string& labels) {
  for (size_t i = 0; i < labels.size(); i++)
    if (labels.find(labels[i], i + 1) != std::string::npos) return false;
  return true;
}

Shape sizes_of(const Equation& equation, const std::string& labels) {
  Shape sizes;
  for (const char label : labels) sizes.push_back(equation.size.at(label));
  return sizes;
}

// Strides of a tensor with dims `own`, in the order of `wanted`; a label it lacks has stride 0, a repeated one the sum of its strides.
Shape strides_in(const Equation& equation, const std::string& own, const std::string& wanted) {
  const Shape strides = strides_of(sizes_of(equation, own));
  Shape result(wanted.size(), 0);
  for (size_t i = 0; i < wanted.size(); i++)
    for (size_t d = 0; d < own.size(); d++)
      if (own[d] == wanted[i]) result[i] += strides[d];
  return result;
}

// The copy of dims `own` into the order `wanted`, where there is one to make.
std::optional<LayoutCopy> copy_of(const Equation& equation, const std::string& own, const std::string& wanted) {
  if (own == wanted) return std::nullopt;
  const Shape sizes = sizes_of(equation, wanted);
  return LayoutCopy{0, 0, sizes, strides_in(equation, own, wanted), 0, strides_of(sizes), 0, sizeof(float)};
}

EinsumProduct plan_product(const NodeSpec& spec, const Equation& equation) {
  const std::string &a = equation.operands[0], &b = equation.operands[1], &output = equation.output;
  std::string batch, rows, columns, summed;
  for (const char label : output) (has(a, label) ? has(b, label) ? batch : rows : columns) += label;
  for (const char label : a)
    if (!has(output, label)) summed += label;
  const auto total = [&](const std::string& labels) { return numel(sizes_of(equation, labels)); };
  const int64_t num_batch = total(batch), m = total(rows), n = total(columns), k = total(summed);
  const bool transposes_a = a != batch + rows + summed && a == batch + summed + rows;
  const bool transposes_b = b != batch + summed + columns && b == batch + columns + summed;
  EinsumProduct plan;
  if (!transposes_a) plan.left = copy_of(equation, a, batch + rows + summed);
  if (!transposes_b) plan.right = copy_of(equation, b, batch + summed + columns);
  plan.back = copy_of(equation, batch + rows + columns, output);
  NodeSpec& product = plan.product;
  product.kernel = "BatchMatMul";
  product.scope = spec.scope;
  product.input_names = {"a", "b"};
  product.inputs = {{DType::f32, transposes_a ? Shape{num_batch, k, m} : Shape{num_batch, m, k}},
                    {DType::f32, transposes_b ? Shape{num_batch, n, k} : Shape{num_batch, k, n}}};
  product.outputs = {{DType::f32, {num_batch, m, n}}};
  product.attrs.values["transposeA"] = transposes_a;
  product.attrs.values["transposeB"] = transposes_b;
  return plan;
}

EinsumSum plan_sum(const Equation& equation) {
  require(equation.operands.size() <= kMostEinsumOperands, "more than four operands");
  require(distinct(equation.output), "the output repeats a label");
  std::string summed;
  for (const auto& [label, size] : equation.size)
    if (!has(equation.output, label)) summed += label;
  EinsumSum plan{sizes_of(equation, equation.output), sizes_of(equation, summed), {}, {}};
  for (const std::string& own : equation.operands) {
    plan.outer_strides.push_back(strides_in(equation, own, equation.output));
    plan.inner_strides.push_back(strides_in(equation, own, summed));
  }
  return plan;
}

}  // namespace

std::variant<EinsumProduct, EinsumSum> plan_einsum(const NodeSpec& spec) {
  const Equation equation = parse(spec);
  require(spec.outputs.at(0).numel() == numel(sizes_of(equation, equation.output)), "the output shape does not match the equation");
  bool is_product = equation.operands.size() == 2 && distinct(equation.operands[0]) && distinct(equation.operands[1]) && distinct(equation.output) && spec.outputs[0].numel() > 0;
  // A label summed within one operand alone is no matrix product; neither is an empty sum.
  for (const auto& [label, size] : equation.size)
    is_product = is_product && size > 0 && has(equation.operands[0], label) + has(equation.operands[1], label) + has(equation.output, label) >= 2;
  if (is_product) return plan_product(spec, equation);
  return plan_sum(equation);
}

}  // namespace merak
