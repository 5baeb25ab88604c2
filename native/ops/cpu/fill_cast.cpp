// Kernels that make or convert values element by element: Cast, Fill, ZerosLike, OnesLike, AddN, Select.
#include <cstring>  // memcpy, memset

#include "ops/cpu/isa/reduce.h"  // accumulate_sum
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

template <class From, class To, class Convert>
std::unique_ptr<Kernel> make_convert(int64_t n, Convert convert) {
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const From* x = static_cast<const From*>(in[0]);
    To* y = static_cast<To*>(out[0]);
    parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) y[i] = convert(x[i]);
    });
  });
}

std::unique_ptr<Kernel> make_cast(const NodeSpec& spec) {
  const DType from = spec.inputs.at(0).dtype, to = spec.outputs.at(0).dtype;
  const int64_t n = spec.outputs[0].numel();
  require(spec.inputs[0].numel() == n, "input and output sizes differ");
  if (from == to) {
    const size_t bytes = spec.outputs[0].bytes();
    return make_kernel([=](const void* const* in, void* const* out, RunContext&) { std::memcpy(out[0], in[0], bytes); });
  }
  if (to == DType::b8) {
    // NaN is not zero.
    if (from == DType::f32) return make_convert<float, uint8_t>(n, [](float x) { return uint8_t(x != 0.0f); });
    return make_convert<int32_t, uint8_t>(n, [](int32_t x) { return uint8_t(x != 0); });
  }
  if (to == DType::f32) {
    if (from == DType::i32) return make_convert<int32_t, float>(n, [](int32_t x) { return static_cast<float>(x); });
    return make_convert<uint8_t, float>(n, [](uint8_t x) { return static_cast<float>(x); });
  }
  if (from == DType::f32) return make_convert<float, int32_t>(n, [](float x) { return to_int32(x); });
  return make_convert<uint8_t, int32_t>(n, [](uint8_t x) { return static_cast<int32_t>(x); });
}

void fill(DType dtype, void* data, int64_t n, double value) {
  if (value == 0) {
    std::memset(data, 0, static_cast<size_t>(n) * size_of(dtype));
    return;
  }
  parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) {
    if (dtype == DType::f32) {
      std::fill(static_cast<float*>(data) + begin, static_cast<float*>(data) + end, static_cast<float>(value));
    } else {
      for (int64_t i = begin; i < end; i++) store_number(dtype, data, i, value);
    }
  });
}

std::unique_ptr<Kernel> make_fill(const NodeSpec& spec) {
  double value = 0;
  if (spec.kernel == "OnesLike") value = 1;
  if (spec.kernel == "Fill") {
    const auto found = spec.attrs.values.find("value");
    const bool* flag = found == spec.attrs.values.end() ? nullptr : std::get_if<bool>(&found->second);
    value = flag ? (*flag ? 1 : 0) : spec.attrs.number("value");
  }
  const DType dtype = spec.outputs.at(0).dtype;
  const int64_t n = spec.outputs[0].numel();
  return make_kernel([=](const void* const*, void* const* out, RunContext&) { fill(dtype, out[0], n, value); });
}

std::unique_ptr<Kernel> make_add_n(const NodeSpec& spec) {
  const size_t num_inputs = spec.inputs.size();
  const DType dtype = spec.outputs.at(0).dtype;
  const int64_t n = spec.outputs[0].numel();
  bool same = num_inputs > 0;
  for (const TensorType& input : spec.inputs) same = same && input.numel() == n && input.dtype == dtype;
  require(same, "AddN needs inputs of one shape and dtype");
  if (dtype == DType::f32) {
    const auto accumulate = MERAK_PICK(accumulate_sum);
    return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
      parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) {
        float* y = static_cast<float*>(out[0]);
        std::memcpy(y + begin, static_cast<const float*>(in[0]) + begin, static_cast<size_t>(end - begin) * sizeof(float));
        for (size_t k = 1; k < num_inputs; k++) accumulate(static_cast<const float*>(in[k]) + begin, y + begin, end - begin);
      });
    });
  }
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    for (int64_t i = 0; i < n; i++) {
      double sum = 0;
      for (size_t k = 0; k < num_inputs; k++) sum += load_number(dtype, in[k], i);
      store_number(dtype, out[0], i, sum);
    }
  });
}

// A condition of rank 1 beside t of a higher rank picks whole rows; otherwise shapes are equal.
std::unique_ptr<Kernel> make_select(const NodeSpec& spec) {
  const size_t c = input_index(spec, "condition"), t = input_index(spec, "t"), e = input_index(spec, "e");
  const int64_t n = spec.outputs.at(0).numel(), num_conditions = spec.inputs[c].numel();
  require(spec.inputs[c].dtype == DType::b8, "the condition must be bool");
  require(spec.inputs[t].numel() == n && spec.inputs[e].numel() == n, "t and e must have the result's shape");
  const int64_t row = num_conditions == 0 ? 0 : n / num_conditions;
  require(num_conditions == 0 ? n == 0 : row * num_conditions == n, "the condition does not fit t");
  const DType t_type = spec.inputs[t].dtype, e_type = spec.inputs[e].dtype, y_type = spec.outputs[0].dtype;
  if (size_of(t_type) == 4 && t_type == e_type && t_type == y_type && row == 1) {
    return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
      const uint8_t* condition = static_cast<const uint8_t*>(in[c]);
      const uint32_t* yes = static_cast<const uint32_t*>(in[t]);
      const uint32_t* no = static_cast<const uint32_t*>(in[e]);
      uint32_t* y = static_cast<uint32_t*>(out[0]);
      parallel_for(n, kParallelGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) y[i] = condition[i] == 1 ? yes[i] : no[i];
      });
    });
  }
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const uint8_t* condition = static_cast<const uint8_t*>(in[c]);
    for (int64_t i = 0; i < n; i++) {
      const bool yes = condition[i / row] == 1;
      store_number(y_type, out[0], i, yes ? load_number(t_type, in[t], i) : load_number(e_type, in[e], i));
    }
  });
}

}  // namespace

void register_fill_cast_kernels() {
  register_kernel("Cast", make_cast);
  register_kernel("Fill", make_fill);
  register_kernel("ZerosLike", make_fill);
  register_kernel("OnesLike", make_fill);
  register_kernel("AddN", make_add_n);
  register_kernel("Select", make_select);
}

}  // namespace merak
