// Element-wise kernels of two tensors with broadcasting.
#include <cmath>          // the exact path
#include <unordered_map>  // the table

#include "ops/cpu/isa/binary.h"  // vectorised loops
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"     // the exact path's conversions
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_loop.h"

namespace merak {
namespace {

using FloatLoop = void (*)(const float*, const float*, float*, size_t, int, int);
using CompareLoop = void (*)(const float*, const float*, uint8_t*, size_t, int, int);
using ExactOp = double (*)(double a, double b);

struct BinaryOp {
  FloatLoop loop;       // float32 to float32, or null
  CompareLoop compare;  // float32 to bool, or null
  ExactOp exact;        // any other dtypes, in double as tfjs computes
};

double js_max(double a, double b) { return a > b || std::isnan(a) ? a : b; }
double js_min(double a, double b) { return a < b || std::isnan(a) ? a : b; }

// JavaScript's pow differs from C's: a NaN exponent, and an infinite one of base +-1, give NaN.
double js_pow(double a, double b) {
  if (std::isnan(b) || (std::isinf(b) && std::fabs(a) == 1)) return NAN;
  return std::pow(a, b);
}

double floor_mod(double a, double b) {
  const double remainder = std::fmod(a, b);
  return (a < 0 && b < 0) || (a >= 0 && b >= 0) ? remainder : std::fmod(remainder + b, b);
}

bool truthy(double x) { return x != 0 && !std::isnan(x); }

const std::unordered_map<std::string, BinaryOp>& table() {
  static const std::unordered_map<std::string, BinaryOp> ops = {
      {"Add", {MERAK_PICK(binary_add), nullptr, [](double a, double b) { return a + b; }}},
      {"Sub", {MERAK_PICK(binary_sub), nullptr, [](double a, double b) { return a - b; }}},
      {"Multiply", {MERAK_PICK(binary_mul), nullptr, [](double a, double b) { return a * b; }}},
      {"RealDiv", {MERAK_PICK(binary_div), nullptr, [](double a, double b) { return a / b; }}},
      {"FloorDiv", {nullptr, nullptr, [](double a, double b) { return std::floor(a / b); }}},
      {"Mod", {nullptr, nullptr, floor_mod}},
      {"Maximum", {MERAK_PICK(binary_maximum), nullptr, js_max}},
      {"Minimum", {MERAK_PICK(binary_minimum), nullptr, js_min}},
      {"Pow", {nullptr, nullptr, js_pow}},
      {"SquaredDifference",
       {MERAK_PICK(binary_squared_difference), nullptr, [](double a, double b) { return (a - b) * (a - b); }}},
      {"Prelu", {MERAK_PICK(binary_prelu), nullptr, [](double a, double b) { return a < 0 ? a * b : a; }}},
      {"EluGrad", {MERAK_PICK(binary_elu_grad), nullptr, [](double a, double b) { return b >= 0 ? a : a * (b + 1); }}},
      {"Atan2", {nullptr, nullptr, [](double a, double b) { return std::atan2(a, b); }}},
      {"Equal", {nullptr, MERAK_PICK(compare_equal), [](double a, double b) { return a == b ? 1.0 : 0.0; }}},
      {"NotEqual", {nullptr, MERAK_PICK(compare_not_equal), [](double a, double b) { return a != b ? 1.0 : 0.0; }}},
      {"Greater", {nullptr, MERAK_PICK(compare_greater), [](double a, double b) { return a > b ? 1.0 : 0.0; }}},
      {"GreaterEqual", {nullptr, MERAK_PICK(compare_greater_equal), [](double a, double b) { return a >= b ? 1.0 : 0.0; }}},
      {"Less", {nullptr, MERAK_PICK(compare_less), [](double a, double b) { return a < b ? 1.0 : 0.0; }}},
      {"LessEqual", {nullptr, MERAK_PICK(compare_less_equal), [](double a, double b) { return a <= b ? 1.0 : 0.0; }}},
      {"LogicalAnd", {nullptr, nullptr, [](double a, double b) { return truthy(a) && truthy(b) ? 1.0 : 0.0; }}},
      {"LogicalOr", {nullptr, nullptr, [](double a, double b) { return truthy(a) || truthy(b) ? 1.0 : 0.0; }}},
      {"LogicalXor", {nullptr, nullptr, [](double a, double b) { return truthy(a) != truthy(b) ? 1.0 : 0.0; }}},
  };
  return ops;
}

// Rows too short to be worth a call each are repeated into a longer one (a bias on few channels).
constexpr int64_t kShortRow = 64;
constexpr int64_t kRepeatedRow = 512;

using Loop = StridedLoop<3>;

// Runs `row(a, b, y, n, step_a, step_b)` over the whole loop in parallel. Row strides are 0 or 1 for a and b, 1 for y.
template <class Out, class Row>
void run_rows(const Loop& loop, const float* a, const float* b, Out* y, const Row& row) {
  const int step_a = static_cast<int>(loop.row_stride[0]), step_b = static_cast<int>(loop.row_stride[1]);
  if (loop.num_rows == 1) {
    parallel_for(loop.row_length, kParallelGrain, [&](int64_t begin, int64_t end) {
      row(a + begin * step_a, b + begin * step_b, y + begin, end - begin, step_a, step_b);
    });
    return;
  }
  parallel_for(loop.num_rows, kParallelGrain / std::max<int64_t>(1, loop.row_length), [&](int64_t begin, int64_t end) {
    loop.for_rows(begin, end, [&](const Loop::Offsets& at) {
      row(a + at[0], b + at[1], y + at[2], loop.row_length, step_a, step_b);
    });
  });
}

// Whether operand `repeated` is one short row used for all rows while the other operand is contiguous.
bool repeats_short_row(const Loop& loop, size_t repeated) {
  const size_t other = 1 - repeated;
  return loop.outer_sizes().size() == 1 && loop.row_length < kShortRow && loop.num_rows > 8 &&
         loop.row_stride[repeated] == 1 && loop.outer_strides()[0][repeated] == 0 && loop.row_stride[other] == 1 &&
         loop.outer_strides()[0][other] == loop.row_length;
}

template <class Out, class Row>
void run_repeated(const Loop& loop, size_t repeated, const float* a, const float* b, Out* y, float* scratch, const Row& row) {
  const int64_t n = loop.row_length, rows = kRepeatedRow / n, chunk = rows * n, total = loop.num_rows * n;
  const float* source = repeated == 0 ? a : b;
  for (int64_t i = 0; i < chunk; i++) scratch[i] = source[i % n];
  const int64_t per_piece = std::max<int64_t>(1, kParallelGrain / chunk) * chunk;
  parallel_for(total, per_piece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += chunk) {
      const int64_t count = std::min(chunk, end - i);
      row(repeated == 0 ? scratch : a + i, repeated == 1 ? scratch : b + i, y + i, count, 1, 1);
    }
  });
}

// Where the two operands stand among the node's inputs.
struct Operands {
  size_t a, b;
};

Operands operands_of(const NodeSpec& spec) {
  if (spec.kernel == "Prelu") return {input_index(spec, "x"), input_index(spec, "alpha")};
  if (spec.kernel == "EluGrad") return {input_index(spec, "dy"), input_index(spec, "y")};
  return {input_index(spec, "a"), input_index(spec, "b")};
}

template <class Out, class RowLoop>
std::unique_ptr<Kernel> make_float(const Loop& loop, Operands at, RowLoop row) {
  for (const size_t repeated : {size_t{0}, size_t{1}})
    if (repeats_short_row(loop, repeated))
      return make_kernel(
          [=](const void* const* in, void* const* out, RunContext& context) {
            run_repeated(loop, repeated, static_cast<const float*>(in[at.a]), static_cast<const float*>(in[at.b]),
                         static_cast<Out*>(out[0]), static_cast<float*>(context.scratch), row);
          },
          kRepeatedRow * sizeof(float));
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    run_rows(loop, static_cast<const float*>(in[at.a]), static_cast<const float*>(in[at.b]), static_cast<Out*>(out[0]), row);
  });
}

std::unique_ptr<Kernel> make_exact(const Loop& loop, const NodeSpec& spec, Operands operands, ExactOp op) {
  const DType a = spec.inputs[operands.a].dtype, b = spec.inputs[operands.b].dtype, y = spec.outputs[0].dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(loop.num_rows, kParallelGrain / 8 / std::max<int64_t>(1, loop.row_length), [&](int64_t begin, int64_t end) {
      loop.for_rows(begin, end, [&](const Loop::Offsets& at) {
        for (int64_t i = 0; i < loop.row_length; i++)
          store_number(y, out[0], at[2] + i * loop.row_stride[2],
                       op(load_number(a, in[operands.a], at[0] + i * loop.row_stride[0]),
                          load_number(b, in[operands.b], at[1] + i * loop.row_stride[1])));
      });
    });
  });
}

// Powers with one exponent for all, decided when the exponent is known.
void pow_row(const float* a, const float* b, float* y, size_t n, int step_a, int step_b) {
  if (!step_b && step_a) {
    const float exponent = *b;
    if (exponent == 2.0f) return MERAK_PICK(binary_mul)(a, a, y, n, 1, 1);
    if (exponent == 1.0f || exponent == 3.0f || exponent == -1.0f) {
      for (size_t i = 0; i < n; i++) y[i] = exponent == 1.0f ? a[i] : exponent == 3.0f ? a[i] * a[i] * a[i] : 1.0f / a[i];
      return;
    }
  }
  for (size_t i = 0; i < n; i++)
    y[i] = static_cast<float>(js_pow(a[i * static_cast<size_t>(step_a)], b[i * static_cast<size_t>(step_b)]));
}

std::unique_ptr<Kernel> make_binary(const NodeSpec& spec) {
  const BinaryOp op = table().at(spec.kernel);
  const Shape& target = spec.outputs.at(0).shape;
  const Operands at = operands_of(spec);
  const TensorType &a = spec.inputs[at.a], &b = spec.inputs[at.b];
  const Loop loop(target, {broadcast_strides(a.shape, target), broadcast_strides(b.shape, target), strides_of(target)});
  const bool floats = a.dtype == DType::f32 && b.dtype == DType::f32;
  const DType to = spec.outputs[0].dtype;
  if (floats && to == DType::f32 && spec.kernel == "Pow") return make_float<float>(loop, at, pow_row);
  if (floats && to == DType::f32 && op.loop) return make_float<float>(loop, at, op.loop);
  if (floats && to == DType::b8 && op.compare) return make_float<uint8_t>(loop, at, op.compare);
  return make_exact(loop, spec, at, op.exact);
}

}  // namespace

void register_binary_kernels() {
  for (const auto& [name, op] : table()) register_kernel(name, make_binary);
}

}  // namespace merak
