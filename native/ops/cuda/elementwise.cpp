// tfjs's element-wise kernels on CUDA, each a chain of one step or a few; the activations of fused kernels; MerakFused, a chain that
// src/graph/passes/fuseChains.ts put together.
#include <algorithm>  // find, max
#include <map>        // names

#include "ops/cpu/shape.h"  // broadcast_strides
#include "ops/cuda/activation.h"
#include "ops/cuda/elementwise.h"

namespace merak {
namespace {

using namespace cuda;

const std::vector<std::string> kUnary = {"Abs",  "Acos", "Acosh", "Asin",      "Asinh", "Atan",    "Atanh", "Ceil",  "ClipByValue", "Cos",        "Cosh",       "Elu",
                                         "Erf",  "Exp",  "Expm1", "Floor",     "IsFinite", "IsInf", "IsNan", "LeakyRelu", "Log",   "Log1p",      "LogicalNot", "Neg",
                                         "Reciprocal", "Relu", "Relu6", "Round", "Rsqrt", "Selu", "Sigmoid", "Sign", "Sin",  "Sinh",        "Softplus",   "Sqrt",
                                         "Square", "Step", "Tan", "Tanh"};
const std::vector<std::string> kBinary = {"Add",     "Sub",  "Multiply", "RealDiv",  "FloorDiv", "Mod",          "Maximum", "Minimum",   "Pow",        "SquaredDifference", "Prelu", "EluGrad",
                                          "Atan2",   "Equal", "NotEqual", "Greater", "GreaterEqual", "Less",     "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor", "BitwiseAnd"};

// What an operation takes beside its operands.
std::vector<double> numbers_of(const std::string& kernel, const Attrs& attrs) {
  if (kernel == "ClipByValue") return {attrs.number("clipValueMin"), attrs.number("clipValueMax")};
  if (kernel == "Step") return {attrs.number("alpha", 0.0)};
  if (kernel == "LeakyRelu") return {attrs.number("alpha", 0.2)};
  return {};
}

ChainInput input_of(const TensorType& type, const Shape& target) { return {type.dtype, broadcast_strides(type.shape, target)}; }

PlacedChain unary_chain(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(x.numel() == y.numel(), "input and output sizes differ");
  // -true is true, as in tfjs.
  const bool keeps = spec.kernel == "Neg" && y.dtype == DType::b8;
  return {{{y.numel()}, {{x.dtype, {1}}}, {{keeps ? "Identity" : spec.kernel, {0}, numbers_of(spec.kernel, spec.attrs)}}, y.dtype}, {0}};
}

PlacedChain cast_chain(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(x.numel() == y.numel(), "input and output sizes differ");
  // To bool, NaN is not zero.
  return {{{y.numel()}, {{x.dtype, {1}}}, {{y.dtype == DType::b8 ? "NotZero" : "Identity", {0}, {}}}, y.dtype}, {0}};
}

PlacedChain binary_chain(const NodeSpec& spec) {
  const char *first = spec.kernel == "Prelu" ? "x" : spec.kernel == "EluGrad" ? "dy" : "a", *second = spec.kernel == "Prelu" ? "alpha" : spec.kernel == "EluGrad" ? "y" : "b";
  const size_t a = input_index(spec, first), b = input_index(spec, second);
  const TensorType& y = spec.outputs.at(0);
  return {{y.shape, {input_of(spec.inputs[a], y.shape), input_of(spec.inputs[b], y.shape)}, {{spec.kernel, {0, 1}, {}}}, y.dtype}, {a, b}};
}

PlacedChain fill_chain(const NodeSpec& spec) {
  double value = spec.kernel == "OnesLike" ? 1 : 0;
  if (spec.kernel == "Fill") {
    const auto found = spec.attrs.values.find("value");
    const bool* flag = found == spec.attrs.values.end() ? nullptr : std::get_if<bool>(&found->second);
    value = flag ? (*flag ? 1 : 0) : spec.attrs.number("value");
  }
  const TensorType& y = spec.outputs.at(0);
  return {{{y.numel()}, {}, {{"Constant", {}, {value}}}, y.dtype}, {}};
}

PlacedChain add_n_chain(const NodeSpec& spec) {
  const TensorType& y = spec.outputs.at(0);
  Chain chain{{y.numel()}, {}, {}, y.dtype};
  std::vector<size_t> places;
  const int count = static_cast<int>(spec.inputs.size());
  for (int k = 0; k < count; k++) {
    require(spec.inputs[static_cast<size_t>(k)].numel() == y.numel() && spec.inputs[static_cast<size_t>(k)].dtype == y.dtype, "AddN needs inputs of one shape and dtype");
    chain.inputs.push_back({y.dtype, {1}});
    places.push_back(static_cast<size_t>(k));
  }
  chain.steps.push_back({"Identity", {0}, {}});
  for (int k = 1; k < count; k++) chain.steps.push_back({"Add", {count + k - 1, k}, {}});
  return {chain, places};
}

// A condition of rank 1 beside t of a higher rank picks whole rows; otherwise shapes are equal.
PlacedChain select_chain(const NodeSpec& spec) {
  const size_t c = input_index(spec, "condition"), t = input_index(spec, "t"), e = input_index(spec, "e");
  const TensorType& y = spec.outputs.at(0);
  const int64_t n = y.numel(), conditions = spec.inputs[c].numel(), row = conditions == 0 ? 0 : n / conditions;
  require(spec.inputs[c].dtype == DType::b8, "the condition must be bool");
  require(spec.inputs[t].numel() == n && spec.inputs[e].numel() == n, "t and e must have the result's shape");
  require(conditions == 0 ? n == 0 : row * conditions == n, "the condition does not fit t");
  return {{{conditions, row}, {{DType::b8, {1, 0}}, {spec.inputs[t].dtype, {row, 1}}, {spec.inputs[e].dtype, {row, 1}}}, {{"Select", {0, 1, 2}, {}}}, y.dtype}, {c, t, e}};
}

// offset + (x - mean) * scale / sqrt(variance + epsilon): parameters are one number, or repeat along the last dims of x.
PlacedChain batch_norm_chain(const NodeSpec& spec) {
  const int scale = spec.input("scale"), offset = spec.input("offset");
  std::vector<size_t> places = {input_index(spec, "x"), input_index(spec, "mean"), input_index(spec, "variance")};
  for (const int more : {scale, offset})
    if (more >= 0) places.push_back(static_cast<size_t>(more));
  const TensorType& y = spec.outputs.at(0);
  const int64_t n = y.numel();
  int64_t period = 1;
  for (size_t k = 1; k < places.size(); k++) period = std::max(period, spec.inputs[places[k]].numel());
  Chain chain{{n / period, period}, {}, {}, y.dtype};
  for (size_t k = 0; k < places.size(); k++) {
    const TensorType& input = spec.inputs[places[k]];
    const int64_t own = input.numel();
    require(input.dtype == DType::f32 && n % period == 0 && (own == period || own == 1 || k == 0), "parameters do not repeat evenly along x");
    chain.inputs.push_back({DType::f32, k == 0 ? Shape{period, 1} : Shape{0, own == 1 ? 0 : 1}});
  }
  const int first = static_cast<int>(places.size());
  const auto step = [&](const char* name, std::vector<int> operands, std::vector<double> numbers = {}) {
    chain.steps.push_back({name, std::move(operands), std::move(numbers)});
    return first + static_cast<int>(chain.steps.size()) - 1;
  };
  int factor = step("Rsqrt", {step("Add", {2, step("Constant", {}, {spec.attrs.number("varianceEpsilon", 0.001)})})});
  if (scale >= 0) factor = step("Multiply", {3, factor});
  const int scaled = step("Multiply", {step("Sub", {0, 1}), factor});
  if (offset >= 0) step("Add", {scaled, first - 1});
  return {chain, places};
}

// How many values a step of MerakFused joins; 0 for what is none.
int operands_of_step(const std::string& name) {
  const auto is_in = [&](const std::vector<std::string>& names) { return std::find(names.begin(), names.end(), name) != names.end(); };
  if (name == "Select") return 3;
  return is_in(kBinary) ? 2 : is_in(kUnary) || name == "Identity" || name == "NotZero" ? 1 : 0;
}

// Attributes: `kernels` of the steps; `operands` of all steps one after another, inputs counted first, then steps, each step's number of
// them in `counts`; `numbers` likewise with `numberCounts`. With `reduction` (and `axes`) the steps have `shape`.
PlacedChain fused_chain(const NodeSpec& spec) {
  const TensorType& y = spec.outputs.at(0);
  const auto list = [&](const char* name) {
    const auto found = spec.attrs.values.find(name);
    const auto* numbers = found == spec.attrs.values.end() ? nullptr : std::get_if<std::vector<double>>(&found->second);
    return numbers ? *numbers : std::vector<double>{};
  };
  const auto found = spec.attrs.values.find("kernels");
  const auto* kernels = found == spec.attrs.values.end() ? nullptr : std::get_if<std::vector<std::string>>(&found->second);
  require(kernels && !kernels->empty(), "kernels must name the steps");
  const std::vector<double> operands = list("operands"), counts = list("counts"), numbers = list("numbers"), number_counts = list("numberCounts");
  require(counts.size() == kernels->size() && number_counts.size() == kernels->size(), "each step needs a count");
  Chain chain{spec.attrs.has("reduction") ? spec.attrs.ints("shape") : y.shape, {}, {}, y.dtype};
  std::vector<size_t> places;
  for (size_t k = 0; k < spec.inputs.size(); k++) {
    chain.inputs.push_back(input_of(spec.inputs[k], chain.shape));
    places.push_back(k);
  }
  size_t operand = 0, number = 0;
  for (size_t s = 0; s < kernels->size(); s++) {
    const std::string& name = (*kernels)[s];
    require(counts[s] > 0 && counts[s] == operands_of_step(name), "a step has the wrong number of operands, or is no element-wise operation");
    ChainStep step{name, {}, {}};
    for (double k = 0; k < counts[s]; k++) {
      require(operand < operands.size(), "operands are missing");
      const double at = operands[operand++];
      require(at >= 0 && at < static_cast<double>(spec.inputs.size() + s), "a step reads what is not there yet");
      step.operands.push_back(static_cast<int>(at));
    }
    for (double k = 0; k < number_counts[s]; k++) {
      require(number < numbers.size(), "numbers are missing");
      step.numbers.push_back(numbers[number++]);
    }
    chain.steps.push_back(step);
  }
  return {chain, places};
}

using Maker = PlacedChain (*)(const NodeSpec&);

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> table = [] {
    std::map<std::string, Maker> all = {{"Cast", cast_chain},     {"Fill", fill_chain},   {"ZerosLike", fill_chain}, {"OnesLike", fill_chain},
                                        {"AddN", add_n_chain},    {"Select", select_chain}, {"MerakFused", fused_chain}, {"FusedBatchNorm", batch_norm_chain}};
    for (const std::string& name : kUnary) all[name] = unary_chain;
    for (const std::string& name : kBinary) all[name] = binary_chain;
    return all;
  }();
  return table;
}

std::unique_ptr<Kernel> chain_kernel(Device& device, const PlacedChain& placed) {
  const DeviceChain made(device, placed.chain);
  const std::vector<size_t> places = placed.places;
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    const void* inputs[kMostChainInputs];
    for (size_t k = 0; k < places.size(); k++) inputs[k] = in[places[k]];
    made.run(inputs, out[0], stream_of(context));
  });
}

}  // namespace

namespace cuda {

PlacedChain chain_of(const NodeSpec& spec) {
  const auto found = makers().find(spec.kernel);
  if (found == makers().end()) throw Unsupported(spec.kernel + " is no element-wise kernel");
  return found->second(spec);
}

std::unique_ptr<Kernel> make_activation(const NodeSpec& spec, Device& device) {
  static const std::map<std::string, std::string> names = {{"relu", "Relu"}, {"relu6", "Relu6"}, {"elu", "Elu"}, {"sigmoid", "Sigmoid"}, {"leakyrelu", "LeakyRelu"}};
  const std::string name = spec.attrs.text("activation", "linear");
  if (name == "linear") return nullptr;
  const auto found = names.find(name);
  if (found == names.end()) throw Unsupported("activation " + name);
  const std::vector<double> numbers = name == "leakyrelu" ? std::vector<double>{spec.attrs.number("leakyreluAlpha", 0.2)} : std::vector<double>{};
  return chain_kernel(device, {{{spec.outputs[0].numel()}, {{DType::f32, {1}}}, {{found->second, {0}, numbers}}, DType::f32}, {0}});
}

}  // namespace cuda

void register_cuda_elementwise() {
  for (const auto& [name, maker] : makers())
    register_cuda_kernel(name, [](const NodeSpec& spec, Device& device) {
      return spec.attrs.has("reduction") ? make_reduced_chain(spec, device) : chain_kernel(device, chain_of(spec));
    });
}

}  // namespace merak
