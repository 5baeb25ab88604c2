// Einsum with an explicit output. Two operands become one batched matrix product, permuted copies around it only where the order of
// dims asks for them; anything else is summed directly.
#include <map>      // label sizes

#include "engine/registry.h"  // compile_kernel, for the product itself
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_copy.h"

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

size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }

// One operand of the product: used as it lies, transposed by the product, or copied into order first.
struct Operand {
  bool transposed = false;
  bool copied = false;
  StridedCopy copy;
  size_t bytes;
};

Operand operand_of(const Equation& equation, const std::string& own, const std::string& batch, const std::string& rows,
                   const std::string& columns) {
  const std::string wanted = batch + rows + columns, swapped = batch + columns + rows;
  const Shape sizes = sizes_of(equation, wanted);
  const size_t bytes = padded(static_cast<size_t>(numel(sizes)) * sizeof(float));
  return {own != wanted && own == swapped, own != wanted && own != swapped,
          StridedCopy(sizes, strides_in(equation, own, wanted), 0, strides_of(sizes), 0, sizeof(float)), bytes};
}

std::unique_ptr<Kernel> make_product(const NodeSpec& spec, const Equation& equation) {
  const std::string &a = equation.operands[0], &b = equation.operands[1], &output = equation.output;
  std::string batch, rows, columns, summed;
  for (const char label : output) (has(a, label) ? has(b, label) ? batch : rows : columns) += label;
  for (const char label : a)
    if (!has(output, label)) summed += label;
  const auto total = [&](const std::string& labels) { return numel(sizes_of(equation, labels)); };
  const Operand left = operand_of(equation, a, batch, rows, summed), right = operand_of(equation, b, batch, summed, columns);
  const std::string natural = batch + rows + columns;
  const Shape result_sizes = sizes_of(equation, output);
  const bool permutes = natural != output;
  const StridedCopy back(result_sizes, strides_in(equation, natural, output), 0, strides_of(result_sizes), 0, sizeof(float));
  const int64_t num_batch = total(batch), m = total(rows), n = total(columns), k = total(summed);

  NodeSpec product;
  product.kernel = "BatchMatMul";
  product.scope = spec.scope;
  product.input_names = {"a", "b"};
  product.inputs = {{DType::f32, left.transposed ? Shape{num_batch, k, m} : Shape{num_batch, m, k}},
                    {DType::f32, right.transposed ? Shape{num_batch, n, k} : Shape{num_batch, k, n}}};
  product.outputs = {{DType::f32, {num_batch, m, n}}};
  product.attrs.values["transposeA"] = left.transposed;
  product.attrs.values["transposeB"] = right.transposed;
  const std::shared_ptr<Kernel> kernel = compile_kernel(product);

  const size_t right_at = left.copied ? left.bytes : 0, result_at = right_at + (right.copied ? right.bytes : 0);
  const size_t inner_at = result_at + (permutes ? padded(product.outputs[0].bytes()) : 0);
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        char* scratch = static_cast<char*>(context.scratch);
        const void* operands[2] = {left.copied ? scratch : in[0], right.copied ? scratch + right_at : in[1]};
        if (left.copied) left.copy.run(in[0], scratch);
        if (right.copied) right.copy.run(in[1], scratch + right_at);
        void* result = permutes ? scratch + result_at : out[0];
        context.scratch = scratch + inner_at;
        kernel->run(operands, &result, context);
        context.scratch = scratch;
        if (permutes) back.run(result, out[0]);
      },
      inner_at + kernel->scratch_bytes());
}

// Any number of operands, repeated labels, labels summed within one operand.
std::unique_ptr<Kernel> make_direct(const NodeSpec& spec, const Equation& equation) {
  constexpr size_t kMaxOperands = 4;
  const size_t num_operands = equation.operands.size();
  require(num_operands <= kMaxOperands, "more than four operands");
  require(distinct(equation.output), "the output repeats a label");
  std::string summed;
  for (const auto& [label, size] : equation.size)
    if (!has(equation.output, label)) summed += label;
  std::array<Shape, kMaxOperands> outer_strides, inner_strides;
  for (size_t k = 0; k < kMaxOperands; k++) {
    const std::string own = k < num_operands ? equation.operands[k] : "";
    outer_strides[k] = strides_in(equation, own, equation.output);
    inner_strides[k] = strides_in(equation, own, summed);
  }
  const StridedLoop<kMaxOperands> outer(sizes_of(equation, equation.output), outer_strides);
  const StridedLoop<kMaxOperands> inner(sizes_of(equation, summed), inner_strides);
  const int64_t work = std::max<int64_t>(1, inner.num_rows * inner.row_length);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    using Offsets = StridedLoop<kMaxOperands>::Offsets;
    if (outer.row_length == 0) return;
    parallel_for(outer.num_rows, kParallelGrain / work / outer.row_length, [&](int64_t begin, int64_t end) {
      int64_t output = begin * outer.row_length;
      outer.for_rows(begin, end, [&](const Offsets& row) {
        for (int64_t i = 0; i < outer.row_length; i++) {
          double total = 0;
          inner.for_rows(0, inner.row_length == 0 ? 0 : inner.num_rows, [&](const Offsets& at) {
            for (int64_t j = 0; j < inner.row_length; j++) {
              double product = 1;
              for (size_t k = 0; k < num_operands; k++)
                product *= static_cast<const float*>(in[k])[row[k] + i * outer.row_stride[k] + at[k] + j * inner.row_stride[k]];
              total += product;
            }
          });
          static_cast<float*>(out[0])[output++] = static_cast<float>(total);
        }
      });
    });
  });
}

std::unique_ptr<Kernel> make_einsum(const NodeSpec& spec) {
  const Equation equation = parse(spec);
  require(spec.outputs.at(0).numel() == numel(sizes_of(equation, equation.output)), "the output shape does not match the equation");
  bool is_product = equation.operands.size() == 2 && distinct(equation.operands[0]) && distinct(equation.operands[1]) &&
                    distinct(equation.output) && spec.outputs[0].numel() > 0;
  if (is_product) {
    for (const auto& [label, size] : equation.size) {
      // A label summed within one operand alone is no matrix product; neither is an empty sum.
      const int uses = has(equation.operands[0], label) + has(equation.operands[1], label) + has(equation.output, label);
      is_product = is_product && uses >= 2 && size > 0;
    }
  }
  return is_product ? make_product(spec, equation) : make_direct(spec, equation);
}

}  // namespace

void register_einsum_kernels() { register_kernel("Einsum", make_einsum); }

}  // namespace merak
