// Reductions over any dims: Sum, Mean, Max, Min, Prod, All, Any. The order of additions depends on shapes alone, never on threads.
#include <cmath>    // NAN
#include <cstring>  // memcpy

#include "ops/cpu/isa/reduce.h"
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_loop.h"

namespace merak {
namespace {

enum class ReduceKind { sum, prod, max, min, all, any };

struct ReduceLoops {
  float (*run)(const float*, size_t);
  void (*accumulate)(const float*, float*, size_t);
};

ReduceLoops loops_of(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::prod: return {MERAK_PICK(reduce_prod), MERAK_PICK(accumulate_prod)};
    case ReduceKind::max: return {MERAK_PICK(reduce_max), MERAK_PICK(accumulate_max)};
    case ReduceKind::min: return {MERAK_PICK(reduce_min), MERAK_PICK(accumulate_min)};
    default: return {MERAK_PICK(reduce_sum), MERAK_PICK(accumulate_sum)};
  }
}

double combine(ReduceKind kind, double a, double b) {
  switch (kind) {
    case ReduceKind::sum: return a + b;
    case ReduceKind::prod: return a * b;
    case ReduceKind::max: return b > a || std::isnan(b) ? b : a;
    case ReduceKind::min: return b < a || std::isnan(b) ? b : a;
    case ReduceKind::all: return a != 0 && b != 0 ? 1 : 0;
    default: return a != 0 || b != 0 ? 1 : 0;
  }
}

// One pass: [outer, reduced, inner] -> [outer, inner].
struct Pass {
  int64_t outer, reduced, inner;
};

// Floats per block of a contiguous run: below it one chain of 64 lanes, above it block results are combined in double.
constexpr int64_t kBlock = 4096;
// Rows summed in float before they join the column totals, and columns per piece of work.
constexpr int64_t kRowBlock = 128;
constexpr int64_t kColumns = 512;

// The pass over contiguous runs. `partials` holds one double per block.
void reduce_runs(const Pass& pass, ReduceKind kind, const ReduceLoops& loops, const float* x, float* y, double* partials, float scale) {
  const int64_t blocks = (pass.reduced + kBlock - 1) / kBlock;
  if (blocks == 1) {
    parallel_for(pass.outer, kParallelGrain / pass.reduced, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) y[i] = scale * loops.run(x + i * pass.reduced, pass.reduced);
    });
    return;
  }
  parallel_for(pass.outer * blocks, kParallelGrain / kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t at = (i % blocks) * kBlock;
      partials[i] = loops.run(x + (i / blocks) * pass.reduced + at, std::min(kBlock, pass.reduced - at));
    }
  });
  for (int64_t i = 0; i < pass.outer; i++) {
    double total = partials[i * blocks];
    for (int64_t b = 1; b < blocks; b++) total = combine(kind, total, partials[i * blocks + b]);
    y[i] = static_cast<float>(scale * total);
  }
}

// The pass over columns: rows of `inner` are added up, kRowBlock at a time into a block total first.
void reduce_columns(const Pass& pass, const ReduceLoops& loops, const float* x, float* y, float scale) {
  const int64_t pieces = (pass.inner + kColumns - 1) / kColumns;
  const int64_t work = pass.reduced * std::min(pass.inner, kColumns);
  parallel_for(pass.outer * pieces, kParallelGrain / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; piece++) {
      const int64_t column = (piece % pieces) * kColumns, width = std::min(kColumns, pass.inner - column);
      const float* from = x + (piece / pieces) * pass.reduced * pass.inner + column;
      float* to = y + (piece / pieces) * pass.inner + column;
      float total[kColumns], block[kColumns];
      for (int64_t row = 0; row < pass.reduced; row += kRowBlock) {
        float* sums = row == 0 ? total : block;
        std::memcpy(sums, from + row * pass.inner, static_cast<size_t>(width) * sizeof(float));
        const int64_t last = std::min(pass.reduced, row + kRowBlock);
        for (int64_t r = row + 1; r < last; r++) loops.accumulate(from + r * pass.inner, sums, width);
        if (row > 0) loops.accumulate(block, total, width);
      }
      for (int64_t i = 0; i < width; i++) to[i] = scale * total[i];
    }
  });
}

// Passes from the innermost reduced dims outwards, over dims merged into alternating kept and reduced groups.
std::vector<Pass> passes_of(const Shape& shape, const std::vector<int64_t>& axes) {
  std::vector<std::pair<bool, int64_t>> groups;
  for (size_t d = 0; d < shape.size(); d++) {
    bool reduced = false;
    for (const int64_t axis : axes) reduced = reduced || axis == static_cast<int64_t>(d);
    if (shape[d] == 1) continue;
    if (!groups.empty() && groups.back().first == reduced) groups.back().second *= shape[d];
    else groups.emplace_back(reduced, shape[d]);
  }
  std::vector<Pass> passes;
  int64_t inner = 1;
  for (size_t g = groups.size(); g-- > 0;) {
    if (!groups[g].first) {
      inner *= groups[g].second;
      continue;
    }
    int64_t outer = 1;
    for (size_t k = 0; k < g; k++) outer *= groups[k].second;
    passes.push_back({outer, groups[g].second, inner});
  }
  return passes;
}

std::unique_ptr<Kernel> make_float_reduce(const Shape& shape, const std::vector<int64_t>& axes, int64_t num_outputs, ReduceKind kind,
                                          float scale) {
  const std::vector<Pass> passes = passes_of(shape, axes);
  if (passes.empty())
    return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
      const float* x = static_cast<const float*>(in[0]);
      for (int64_t i = 0; i < num_outputs; i++) static_cast<float*>(out[0])[i] = scale * x[i];
    });
  // Scratch: the block results, then the results of all passes but the last, which takes two buffers in turn.
  size_t partials = 0, between = 0;
  for (size_t p = 0; p < passes.size(); p++) {
    if (passes[p].inner == 1)
      partials = std::max(partials, static_cast<size_t>(passes[p].outer * ((passes[p].reduced + kBlock - 1) / kBlock)));
    if (p + 1 < passes.size()) between = std::max(between, static_cast<size_t>(passes[p].outer * passes[p].inner));
  }
  const ReduceLoops loops = loops_of(kind);
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        double* blocks = static_cast<double*>(context.scratch);
        float* buffers = reinterpret_cast<float*>(blocks + partials);
        const float* x = static_cast<const float*>(in[0]);
        for (size_t p = 0; p < passes.size(); p++) {
          const bool last = p + 1 == passes.size();
          float* y = last ? static_cast<float*>(out[0]) : buffers + (p % 2) * between;
          if (passes[p].inner == 1) reduce_runs(passes[p], kind, loops, x, y, blocks, last ? scale : 1.0f);
          else reduce_columns(passes[p], loops, x, y, last ? scale : 1.0f);
          x = y;
        }
      },
      partials * sizeof(double) + 2 * between * sizeof(float));
}

// Any dtype, one output at a time, in double as tfjs computes.
std::unique_ptr<Kernel> make_exact_reduce(const TensorType& x, const std::vector<int64_t>& axes, DType to, int64_t num_outputs,
                                          ReduceKind kind, double identity, double scale) {
  const Shape own = strides_of(x.shape);
  Shape kept, kept_strides, reduced, reduced_strides;
  for (size_t d = 0; d < x.shape.size(); d++) {
    bool is_reduced = false;
    for (const int64_t axis : axes) is_reduced = is_reduced || axis == static_cast<int64_t>(d);
    (is_reduced ? reduced : kept).push_back(x.shape[d]);
    (is_reduced ? reduced_strides : kept_strides).push_back(own[d]);
  }
  const StridedLoop<1> outer(kept, {kept_strides}), inner(reduced, {reduced_strides});
  const DType from = x.dtype;
  const bool starts_with_first = kind != ReduceKind::sum && kind != ReduceKind::prod && numel(reduced) > 0;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    int64_t output = 0;
    if (num_outputs == 0) return;
    outer.for_rows(0, outer.num_rows, [&](const StridedLoop<1>::Offsets& row) {
      for (int64_t i = 0; i < outer.row_length; i++) {
        const int64_t start = row[0] + i * outer.row_stride[0];
        double total = starts_with_first ? load_number(from, in[0], start) : identity;
        inner.for_rows(0, inner.row_length == 0 ? 0 : inner.num_rows, [&](const StridedLoop<1>::Offsets& at) {
          for (int64_t k = 0; k < inner.row_length; k++)
            total = combine(kind, total, load_number(from, in[0], start + at[0] + k * inner.row_stride[0]));
        });
        store_number(to, out[0], output++, scale * total);
      }
    });
  });
}

std::unique_ptr<Kernel> make_reduce(const NodeSpec& spec) {
  const std::string& name = spec.kernel;
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const ReduceKind kind = name == "Prod"  ? ReduceKind::prod
                          : name == "Max" ? ReduceKind::max
                          : name == "Min" ? ReduceKind::min
                          : name == "All" ? ReduceKind::all
                          : name == "Any" ? ReduceKind::any
                                          : ReduceKind::sum;
  const std::vector<int64_t> axes = reduction_axes(spec, name == "Max" ? "reductionIndices" : "axis", x.shape.size());
  int64_t num_reduced = 1;
  for (const int64_t axis : axes) num_reduced *= x.shape[static_cast<size_t>(axis)];
  const int64_t num_outputs = y.numel();
  const double scale = name == "Mean" ? 1.0 / static_cast<double>(num_reduced) : 1.0;
  const bool logical = kind == ReduceKind::all || kind == ReduceKind::any;
  if (x.dtype == DType::f32 && y.dtype == DType::f32 && num_reduced > 0 && num_outputs > 0 && !logical)
    return make_float_reduce(x.shape, axes, num_outputs, kind, static_cast<float>(scale));
  // An empty maximum is what tfjs reads past the end of its array: NaN. An empty mean is a sum of nothing.
  const double identity = kind == ReduceKind::prod ? 1 : kind == ReduceKind::sum ? 0 : NAN;
  return make_exact_reduce(x, axes, y.dtype, num_outputs, kind, logical ? 0 : identity, num_reduced == 0 ? 1 : scale);
}

}  // namespace

void register_reduce_kernels() {
  for (const char* name : {"Sum", "Mean", "Max", "Min", "Prod", "All", "Any"}) register_kernel(name, make_reduce);
}

}  // namespace merak
