// Kernels that make tensors out of attributes or small inputs: OneHot, Range, LinSpace, BroadcastArgs.
#include <cstring>  // memset

#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

std::unique_ptr<Kernel> make_one_hot(const NodeSpec& spec) {
  require(spec.inputs.at(0).dtype == DType::i32, "indices must be int32");
  const int64_t depth = spec.attrs.integer("depth");
  const double on = spec.attrs.number("onValue", 1), off = spec.attrs.number("offValue", 0);
  const int64_t num_indices = spec.inputs[0].numel();
  const DType dtype = spec.outputs.at(0).dtype;
  require(spec.outputs[0].numel() == num_indices * depth, "the output shape does not fit depth");
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* index = static_cast<const int32_t*>(in[0]);
    parallel_for(num_indices, kParallelGrain / std::max<int64_t>(1, depth), [&](int64_t begin, int64_t end) {
      if (off == 0) {
        std::memset(bytes_at(out[0], begin * depth * static_cast<int64_t>(size_of(dtype))), 0,
                    static_cast<size_t>((end - begin) * depth) * size_of(dtype));
      } else {
        for (int64_t i = begin * depth; i < end * depth; i++) store_number(dtype, out[0], i, off);
      }
      for (int64_t i = begin; i < end; i++)
        if (index[i] >= 0 && index[i] < depth) store_number(dtype, out[0], i * depth + index[i], on);
    });
  });
}

// Each element is the one before plus the step, rounded to the element type each time, as tfjs does.
std::unique_ptr<Kernel> make_progression(const NodeSpec& spec) {
  const double start = spec.attrs.number("start"), stop = spec.attrs.number("stop");
  const DType dtype = spec.outputs.at(0).dtype;
  const int64_t n = spec.outputs[0].numel();
  double step = 0;
  if (spec.kernel == "LinSpace") {
    step = (stop - start) / (spec.attrs.number("num") - 1);
  } else {
    step = spec.attrs.number("step", 1);
    if (stop < start && step == 1) step = -1;
  }
  return make_kernel([=](const void* const*, void* const* out, RunContext&) {
    if (n > 0) store_number(dtype, out[0], 0, start);
    for (int64_t i = 1; i < n; i++) store_number(dtype, out[0], i, load_number(dtype, out[0], i - 1) + step);
  });
}

std::unique_ptr<Kernel> make_broadcast_args(const NodeSpec& spec) {
  const size_t first = input_index(spec, "s0"), second = input_index(spec, "s1");
  require(spec.inputs[first].dtype == DType::i32 && spec.inputs[second].dtype == DType::i32, "shapes must be int32");
  const int64_t ranks[2] = {spec.inputs[first].numel(), spec.inputs[second].numel()};
  const int64_t rank = std::max(ranks[0], ranks[1]);
  require(spec.outputs.at(0).numel() == rank, "the output must have the longer input's length");
  const int64_t lead_first = rank - ranks[0], lead_second = rank - ranks[1];
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t *a = static_cast<const int32_t*>(in[first]), *b = static_cast<const int32_t*>(in[second]);
    for (int64_t d = 0; d < rank; d++) {
      const int32_t size_a = d < lead_first ? 1 : a[d - lead_first], size_b = d < lead_second ? 1 : b[d - lead_second];
      if (size_a != size_b && size_a != 1 && size_b != 1) throw std::runtime_error("the shapes do not broadcast");
      static_cast<int32_t*>(out[0])[d] = size_a == 1 ? size_b : size_a;
    }
  });
}

}  // namespace

void register_generate_kernels() {
  register_kernel("OneHot", make_one_hot);
  register_kernel("Range", make_progression);
  register_kernel("LinSpace", make_progression);
  register_kernel("BroadcastArgs", make_broadcast_args);
}

}  // namespace merak
