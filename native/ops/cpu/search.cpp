// Looking values up: SearchSorted, LowerBound, UpperBound, Bincount, DenseBincount, Unique.
#include <cmath>          // isnan
#include <cstring>        // memcpy, memset
#include <unordered_map>  // slices seen

#include "ops/cpu/lookup_plan.h"
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

// Halving as tfjs does it, so that unsorted rows and NaN give the same places.
std::unique_ptr<Kernel> make_search(const NodeSpec& spec) {
  const SearchPlan plan = plan_search(spec);
  const DType sorted_type = spec.inputs[plan.sorted].dtype, value_type = spec.inputs[plan.values].dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(plan.total, kParallelGrain / 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const double value = load_number(value_type, in[plan.values], i);
        const int64_t row = i / plan.count * plan.length;
        int64_t low = 0, high = plan.length;
        while (low < high) {
          const int64_t middle = (low + high) / 2;
          const double at = load_number(sorted_type, in[plan.sorted], row + middle);
          if (plan.after_equals ? at <= value : at < value) low = middle + 1;
          else high = middle;
        }
        static_cast<int32_t*>(out[0])[i] = static_cast<int32_t>(high);
      }
    });
  });
}

// How often each of 0 .. size-1 occurs in each row of x, or the sum of its weights; larger numbers are left out.
std::unique_ptr<Kernel> make_bincount(const NodeSpec& spec) {
  const size_t x_at = input_index(spec, "x"), weights_at = input_index(spec, "weights");
  const TensorType &x = spec.inputs[x_at], &weights = spec.inputs[weights_at], &y = spec.outputs.at(0);
  require(x.dtype == DType::i32, "x must be int32");
  require(weights.dtype == y.dtype, "the result must have the dtype of the weights");
  const bool by_row = spec.kernel == "DenseBincount" && x.shape.size() == 2;
  const bool binary = spec.kernel == "DenseBincount" && spec.attrs.flag("binaryOutput", false);
  const int64_t size = spec.attrs.integer("size"), rows = by_row ? x.shape[0] : 1;
  const int64_t length = by_row ? x.shape[1] : x.numel(), num_weights = weights.numel();
  require(num_weights == 0 || num_weights == x.numel(), "there must be a weight for each element, or none");
  require(y.numel() == rows * size, "the output shape does not fit size");
  const DType dtype = y.dtype;
  const size_t bytes = y.bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* numbers = static_cast<const int32_t*>(in[x_at]);
    std::memset(out[0], 0, bytes);
    for (int64_t i = 0; i < rows * length; i++) {
      if (numbers[i] < 0) throw std::runtime_error("element " + std::to_string(i) + " is " + std::to_string(numbers[i]) + ": it must not be negative");
      if (numbers[i] >= size) continue;
      const int64_t bin = i / length * size + numbers[i];
      const double add = num_weights == 0 ? 1 : load_number(dtype, in[weights_at], i);
      store_number(dtype, out[0], bin, binary ? 1 : load_number(dtype, out[0], bin) + add);
    }
  });
}

// All NaN are one value, and so are 0 and -0.
void append_key(DType dtype, const void* data, int64_t i, std::string& key) {
  if (dtype == DType::b8) {
    key += static_cast<char>(static_cast<const uint8_t*>(data)[i]);
    return;
  }
  uint32_t bits = static_cast<const uint32_t*>(data)[i];
  if (dtype == DType::f32) {
    const float value = static_cast<const float*>(data)[i];
    if (std::isnan(value)) bits = 0x7fc00000;
    else if (value == 0) bits = 0;
  }
  key.append(reinterpret_cast<const char*>(&bits), sizeof bits);
}

// x [outer, n, inner] -> the distinct slices [outer, count, inner] packed at the front, the number of each slice's equal [n], count.
std::unique_ptr<Kernel> make_unique_slices(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const size_t axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  require(spec.outputs.size() == 3 && spec.outputs[0].numel() == x.numel() && spec.outputs[1].numel() == x.shape[axis] &&
              spec.outputs[2].numel() == 1,
          "the outputs must be values as large as x, indices and a count");
  const int64_t outer = product(x.shape, 0, axis), n = x.shape[axis], inner = product(x.shape, axis + 1, x.shape.size());
  const DType dtype = x.dtype;
  const size_t bytes = x.bytes(), inner_bytes = static_cast<size_t>(inner) * size_of(dtype);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::unordered_map<std::string, int32_t> numbers;
    std::vector<int64_t> firsts;
    int32_t* indices = static_cast<int32_t*>(out[1]);
    std::string key;
    for (int64_t i = 0; i < n; i++) {
      key.clear();
      for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) append_key(dtype, in[0], (o * n + i) * inner + k, key);
      const auto [found, is_new] = numbers.emplace(key, static_cast<int32_t>(firsts.size()));
      if (is_new) firsts.push_back(i);
      indices[i] = found->second;
    }
    std::memset(out[0], 0, bytes);
    const int64_t count = static_cast<int64_t>(firsts.size());
    for (int64_t o = 0; o < outer; o++)
      for (int64_t i = 0; i < count; i++)
        std::memcpy(bytes_at(out[0], (o * count + i) * static_cast<int64_t>(inner_bytes)),
                    bytes_at(in[0], (o * n + firsts[static_cast<size_t>(i)]) * static_cast<int64_t>(inner_bytes)), inner_bytes);
    static_cast<int32_t*>(out[2])[0] = static_cast<int32_t>(count);
  });
}

}  // namespace

void register_search_kernels() {
  register_kernel("SearchSorted", make_search);
  register_kernel("LowerBound", make_search);
  register_kernel("UpperBound", make_search);
  register_kernel("Bincount", make_bincount);
  register_kernel("DenseBincount", make_bincount);
  register_kernel("Unique", make_unique_slices);
}

}  // namespace merak
