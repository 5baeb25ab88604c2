// Kernels that walk one dim in order: ArgMax, ArgMin, Cumsum, Cumprod, TopK.
#include <algorithm>  // std::partial_sort
#include <cmath>      // std::isnan

#include "ops/cpu/isa/reduce.h"  // reduce_max, reduce_min
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

// A shape seen as [outer, length, inner] around one dim.
struct Around {
  int64_t outer, length, inner;
};

Around around(const Shape& shape, size_t axis) {
  return {product(shape, 0, axis), shape[axis], product(shape, axis + 1, shape.size())};
}

// The first extreme element; NaN never wins, but nothing beats a NaN in front.
template <class Element>
std::unique_ptr<Kernel> make_arg(const Around& view, bool wants_max) {
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const Element* x = static_cast<const Element*>(in[0]);
    int32_t* y = static_cast<int32_t*>(out[0]);
    parallel_for(view.outer * view.inner, kParallelGrain / std::max<int64_t>(1, view.length), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const Element* from = x + (i / view.inner) * view.length * view.inner + i % view.inner;
        int64_t best = 0;
        for (int64_t k = 1; k < view.length; k++) {
          const Element value = from[k * view.inner], top = from[best * view.inner];
          if (wants_max ? value > top : value < top) best = k;
        }
        y[i] = static_cast<int32_t>(best);
      }
    });
  });
}

// Contiguous floats: find the extreme value with vectors, then the first place that holds it. The vector loops propagate NaN,
// which ArgMax does not; rows with NaN are walked.
std::unique_ptr<Kernel> make_arg_of_rows(int64_t rows, int64_t length, bool wants_max) {
  const auto extreme = wants_max ? MERAK_PICK(reduce_max) : MERAK_PICK(reduce_min);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(rows, kParallelGrain / length, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const float* row = static_cast<const float*>(in[0]) + i * length;
        const float value = extreme(row, static_cast<size_t>(length));
        int64_t best = 0;
        if (!std::isnan(value)) {
          while (row[best] != value) best++;
        } else {
          for (int64_t k = 1; k < length; k++)
            if (wants_max ? row[k] > row[best] : row[k] < row[best]) best = k;
        }
        static_cast<int32_t*>(out[0])[i] = static_cast<int32_t>(best);
      }
    });
  });
}

std::unique_ptr<Kernel> make_arg_extreme(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  require(spec.outputs.at(0).dtype == DType::i32, "the result must be int32");
  const Around view = around(x.shape, axis);
  const bool wants_max = spec.kernel == "ArgMax";
  if (x.dtype == DType::f32 && view.inner == 1 && view.length > 0) return make_arg_of_rows(view.outer, view.length, wants_max);
  if (x.dtype == DType::f32) return make_arg<float>(view, wants_max);
  if (x.dtype == DType::i32) return make_arg<int32_t>(view, wants_max);
  return make_arg<uint8_t>(view, wants_max);
}

std::unique_ptr<Kernel> make_cumulative(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const Around view = around(x.shape, static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size())));
  const bool exclusive = spec.attrs.flag("exclusive", false), reverse = spec.attrs.flag("reverse", false);
  const bool multiplies = spec.kernel == "Cumprod";
  const DType from = x.dtype, to = y.dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(view.outer * view.inner, kParallelGrain / 4 / std::max<int64_t>(1, view.length), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t start = (i / view.inner) * view.length * view.inner + i % view.inner;
        double total = multiplies ? 1 : 0;
        for (int64_t k = 0; k < view.length; k++) {
          const int64_t at = start + (reverse ? view.length - 1 - k : k) * view.inner;
          const double value = load_number(from, in[0], at);
          if (exclusive) store_number(to, out[0], at, total);
          total = multiplies ? total * value : total + value;
          if (!exclusive) store_number(to, out[0], at, total);
          // As tfjs: what was stored is what goes on.
          if (to == DType::i32) total = to_int32(total);
        }
      }
    });
  });
}

// Largest first, equal values in index order, NaN last.
std::unique_ptr<Kernel> make_top_k(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  require(!x.shape.empty(), "the input must have a dim");
  const int64_t length = x.shape.back(), k = spec.attrs.integer("k", 1);
  require(k >= 0 && k <= length, "k exceeds the last dim");
  const int64_t rows = product(x.shape, 0, x.shape.size() - 1);
  const DType dtype = x.dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(rows, kParallelGrain / 8 / std::max<int64_t>(1, length), [&](int64_t begin, int64_t end) {
      std::vector<std::pair<double, int32_t>> entries(static_cast<size_t>(length));
      for (int64_t row = begin; row < end; row++) {
        for (int64_t i = 0; i < length; i++)
          entries[static_cast<size_t>(i)] = {load_number(dtype, in[0], row * length + i), static_cast<int32_t>(i)};
        std::partial_sort(entries.begin(), entries.begin() + k, entries.end(), [](const auto& a, const auto& b) {
          if (std::isnan(a.first) || std::isnan(b.first))
            return std::isnan(a.first) == std::isnan(b.first) ? a.second < b.second : std::isnan(b.first);
          return a.first != b.first ? a.first > b.first : a.second < b.second;
        });
        for (int64_t i = 0; i < k; i++) {
          store_number(dtype, out[0], row * k + i, entries[static_cast<size_t>(i)].first);
          static_cast<int32_t*>(out[1])[row * k + i] = entries[static_cast<size_t>(i)].second;
        }
      }
    });
  });
}

}  // namespace

void register_scan_kernels() {
  register_kernel("ArgMax", make_arg_extreme);
  register_kernel("ArgMin", make_arg_extreme);
  register_kernel("Cumsum", make_cumulative);
  register_kernel("Cumprod", make_cumulative);
  register_kernel("TopK", make_top_k);
}

}  // namespace merak
