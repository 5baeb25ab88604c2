// Kernels that only move elements, as layout_plan.h has them; MirrorPad.
#include <cstring>  // memcpy

#include "ops/cpu/layout_plan.h"
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"  // store_number
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_copy.h"

namespace merak {
namespace {

std::unique_ptr<Kernel> make_layout(const NodeSpec& spec) {
  const LayoutPlan plan = plan_layout(spec);
  std::vector<StridedCopy> copies;
  for (const LayoutCopy& c : plan.copies) copies.emplace_back(c.sizes, c.from, c.from_at, c.to, c.to_at, c.element_bytes);
  const DType dtype = spec.outputs[0].dtype;
  const int64_t n = spec.outputs[0].numel();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    if (plan.fills)
      parallel_for(n, 2 * kParallelGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) store_number(dtype, out[0], i, plan.fill);
      });
    for (size_t k = 0; k < copies.size(); k++) copies[k].run(in[plan.copies[k].input], out[plan.copies[k].output]);
  });
}

// Gathers through one table of source indices per dim.
std::unique_ptr<Kernel> make_mirror_pad(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> paddings = spec.attrs.ints("paddings");
  require(paddings.size() == 2 * x.shape.size(), "paddings must give two numbers for every dim");
  const int64_t offset = spec.attrs.text("mode", "reflect") == "reflect" ? 0 : 1;
  const Shape from = strides_of(x.shape), to = strides_of(y.shape);
  std::vector<std::vector<int64_t>> source(x.shape.size());
  for (size_t d = 0; d < x.shape.size(); d++) {
    const int64_t start = paddings[2 * d], end = start + x.shape[d];
    for (int64_t i = 0; i < y.shape[d]; i++) {
      const int64_t at = i < start ? start * 2 - i - offset : i >= end ? (end - 1) * 2 - i + offset : i;
      require(at - start >= 0 && at - start < x.shape[d], "paddings exceed what can be mirrored");
      source[d].push_back((at - start) * from[d]);
    }
  }
  const int64_t n = y.numel();
  const size_t bytes = size_of(x.dtype);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(n, kParallelGrain / 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        int64_t at = 0, rest = i;
        for (size_t d = 0; d < to.size(); d++) {
          at += source[d][static_cast<size_t>(rest / to[d])];
          rest %= to[d];
        }
        std::memcpy(bytes_at(out[0], i * static_cast<int64_t>(bytes)), bytes_at(in[0], at * static_cast<int64_t>(bytes)), bytes);
      }
    });
  });
}

}  // namespace

void register_layout_kernels() {
  for (const std::string& name : layout_kernel_names()) register_kernel(name, make_layout);
  register_kernel("MirrorPad", make_mirror_pad);
}

}  // namespace merak
