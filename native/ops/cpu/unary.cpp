// Element-wise kernels of one tensor.
#include <cmath>          // the exact path
#include <unordered_map>  // the table

#include "ops/cpu/isa/unary.h"   // vectorised loops
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"     // the exact path's conversions
#include "ops/cpu/parallel.h"

namespace merak {
namespace {

using FloatLoop = void (*)(const float*, float*, size_t, float, float);
using ExactOp = double (*)(double x, double p, double q);

struct UnaryOp {
  FloatLoop loop;  // float32 to float32; null: exact path
  ExactOp exact;   // any other dtypes, in double as tfjs computes
};

double round_half_even(double x) {
  const double base = std::floor(x);
  const double fraction = x - base;
  if (fraction < 0.5) return base;
  if (fraction > 0.5) return std::ceil(x);
  return std::fmod(base, 2.0) == 0.0 ? base : base + 1.0;
}

const std::unordered_map<std::string, UnaryOp>& table() {
  static const std::unordered_map<std::string, UnaryOp> ops = {
      {"Abs", {MERAK_PICK(unary_abs), [](double x, double, double) { return std::fabs(x); }}},
      {"Acos", {nullptr, [](double x, double, double) { return std::acos(x); }}},
      {"Acosh", {nullptr, [](double x, double, double) { return std::acosh(x); }}},
      {"Asin", {nullptr, [](double x, double, double) { return std::asin(x); }}},
      {"Asinh", {nullptr, [](double x, double, double) { return std::asinh(x); }}},
      {"Atan", {nullptr, [](double x, double, double) { return std::atan(x); }}},
      {"Atanh", {nullptr, [](double x, double, double) { return std::atanh(x); }}},
      {"Ceil", {MERAK_PICK(unary_ceil), [](double x, double, double) { return std::ceil(x); }}},
      {"ClipByValue",
       {MERAK_PICK(unary_clip), [](double x, double p, double q) { return x > q ? q : x < p ? p : x; }}},
      {"Cos", {MERAK_PICK(unary_cos), [](double x, double, double) { return std::cos(x); }}},
      {"Cosh", {nullptr, [](double x, double, double) { return std::cosh(x); }}},
      {"Elu", {MERAK_PICK(unary_elu), [](double x, double, double) { return x >= 0 ? x : std::exp(x) - 1; }}},
      {"Erf", {MERAK_PICK(unary_erf), [](double x, double, double) { return std::erf(x); }}},
      {"Exp", {MERAK_PICK(unary_exp), [](double x, double, double) { return std::exp(x); }}},
      {"Expm1", {MERAK_PICK(unary_expm1), [](double x, double, double) { return std::expm1(x); }}},
      {"Floor", {MERAK_PICK(unary_floor), [](double x, double, double) { return std::floor(x); }}},
      {"IsFinite", {nullptr, [](double x, double, double) { return std::isfinite(x) ? 1.0 : 0.0; }}},
      {"IsInf", {nullptr, [](double x, double, double) { return std::isinf(x) ? 1.0 : 0.0; }}},
      {"IsNan", {nullptr, [](double x, double, double) { return std::isnan(x) ? 1.0 : 0.0; }}},
      {"LeakyRelu", {MERAK_PICK(unary_leaky_relu), [](double x, double p, double) { return x < 0 ? p * x : x; }}},
      {"Log", {MERAK_PICK(unary_log), [](double x, double, double) { return std::log(x); }}},
      {"Log1p", {MERAK_PICK(unary_log1p), [](double x, double, double) { return std::log1p(x); }}},
      {"LogicalNot", {nullptr, [](double x, double, double) { return x == 0 || std::isnan(x) ? 1.0 : 0.0; }}},
      {"Neg", {MERAK_PICK(unary_neg), [](double x, double, double) { return -x; }}},
      {"Reciprocal", {MERAK_PICK(unary_reciprocal), [](double x, double, double) { return 1 / x; }}},
      {"Relu", {MERAK_PICK(unary_relu), [](double x, double, double) { return x <= 0 ? 0 : x; }}},
      {"Relu6", {MERAK_PICK(unary_relu6), [](double x, double, double) { return x <= 0 ? 0 : x > 6 ? 6 : x; }}},
      {"Round", {MERAK_PICK(unary_round), [](double x, double, double) { return round_half_even(x); }}},
      {"Rsqrt", {MERAK_PICK(unary_rsqrt), [](double x, double, double) { return 1 / std::sqrt(x); }}},
      {"Selu",
       {MERAK_PICK(unary_selu),
        [](double x, double, double) { return x >= 0 ? 1.0507009873554805 * x : 1.7580993408473768 * (std::exp(x) - 1); }}},
      {"Sigmoid", {MERAK_PICK(unary_sigmoid), [](double x, double, double) { return 1 / (1 + std::exp(-x)); }}},
      {"Sign", {MERAK_PICK(unary_sign), [](double x, double, double) { return x < 0 ? -1.0 : x > 0 ? 1.0 : 0.0; }}},
      {"Sin", {MERAK_PICK(unary_sin), [](double x, double, double) { return std::sin(x); }}},
      {"Sinh", {nullptr, [](double x, double, double) { return std::sinh(x); }}},
      {"Softplus",
       {MERAK_PICK(unary_softplus),
        [](double x, double, double) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }}},
      {"Sqrt", {MERAK_PICK(unary_sqrt), [](double x, double, double) { return std::sqrt(x); }}},
      {"Square", {MERAK_PICK(unary_square), [](double x, double, double) { return x * x; }}},
      {"Step",
       {MERAK_PICK(unary_step), [](double x, double p, double) { return std::isnan(x) ? x : x > 0 ? 1.0 : p; }}},
      {"Tan", {nullptr, [](double x, double, double) { return std::tan(x); }}},
      {"Tanh", {MERAK_PICK(unary_tanh), [](double x, double, double) { return std::tanh(x); }}},
  };
  return ops;
}

std::unique_ptr<Kernel> make_unary(const NodeSpec& spec) {
  UnaryOp op = table().at(spec.kernel);
  const DType from = spec.inputs.at(0).dtype, to = spec.outputs.at(0).dtype;
  // -true is true, as in tfjs.
  if (spec.kernel == "Neg" && to == DType::b8) op.exact = [](double x, double, double) { return x; };
  const int64_t n = spec.outputs[0].numel();
  require(spec.inputs[0].numel() == n, "input and output sizes differ");
  double p = 0, q = 0;
  if (spec.kernel == "ClipByValue") {
    p = spec.attrs.number("clipValueMin");
    q = spec.attrs.number("clipValueMax");
  } else if (spec.kernel == "Step") {
    p = spec.attrs.number("alpha", 0.0);
  } else if (spec.kernel == "LeakyRelu") {
    p = spec.attrs.number("alpha", 0.2);
  }
  if (op.loop && from == DType::f32 && to == DType::f32) {
    return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
      const float* x = static_cast<const float*>(in[0]);
      float* y = static_cast<float*>(out[0]);
      parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) {
        op.loop(x + begin, y + begin, end - begin, static_cast<float>(p), static_cast<float>(q));
      });
    });
  }
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(n, kParallelGrain / 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) store_number(to, out[0], i, op.exact(load_number(from, in[0], i), p, q));
    });
  });
}

}  // namespace

void register_unary_kernels() {
  for (const auto& [name, op] : table()) register_kernel(name, make_unary);
}

}  // namespace merak
