// Kernels that only move elements, as layout_plan.h has them.
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

}  // namespace

void register_layout_kernels() {
  for (const std::string& name : layout_kernel_names()) register_kernel(name, make_layout);
}

}  // namespace merak
