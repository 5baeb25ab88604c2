// Einsum on the processor, as einsum_plan.h has it.
#include "engine/registry.h"  // compile_kernel, for the product itself
#include "ops/cpu/einsum_plan.h"
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/strided_copy.h"

namespace merak {
namespace {

// A copy through scratch, or nothing.
struct Reordered {
  std::optional<StridedCopy> copy;
  size_t bytes = 0;

  explicit Reordered(const std::optional<LayoutCopy>& c) {
    if (!c) return;
    copy.emplace(c->sizes, c->from, c->from_at, c->to, c->to_at, c->element_bytes);
    bytes = (static_cast<size_t>(numel(c->sizes)) * c->element_bytes + 63) / 64 * 64;
  }
};

std::unique_ptr<Kernel> make_product(const EinsumProduct& plan) {
  const std::shared_ptr<Kernel> kernel = compile_kernel(plan.product);
  const Reordered left(plan.left), right(plan.right), back(plan.back);
  const size_t result_at = left.bytes + right.bytes, inner_at = result_at + back.bytes;
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        char* scratch = static_cast<char*>(context.scratch);
        const void* operands[2] = {left.copy ? scratch : in[0], right.copy ? scratch + left.bytes : in[1]};
        if (left.copy) left.copy->run(in[0], scratch);
        if (right.copy) right.copy->run(in[1], scratch + left.bytes);
        void* result = back.copy ? scratch + result_at : out[0];
        context.scratch = scratch + inner_at;
        kernel->run(operands, &result, context);
        context.scratch = scratch;
        if (back.copy) back.copy->run(result, out[0]);
      },
      inner_at + kernel->scratch_bytes());
}

std::unique_ptr<Kernel> make_sum(const EinsumSum& plan) {
  const size_t num_operands = plan.outer_strides.size();
  std::array<Shape, kMostEinsumOperands> outer_strides, inner_strides;
  for (size_t k = 0; k < kMostEinsumOperands; k++) {
    outer_strides[k] = k < num_operands ? plan.outer_strides[k] : Shape(plan.outer_sizes.size(), 0);
    inner_strides[k] = k < num_operands ? plan.inner_strides[k] : Shape(plan.inner_sizes.size(), 0);
  }
  const StridedLoop<kMostEinsumOperands> outer(plan.outer_sizes, outer_strides), inner(plan.inner_sizes, inner_strides);
  const int64_t work = std::max<int64_t>(1, inner.num_rows * inner.row_length);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    using Offsets = StridedLoop<kMostEinsumOperands>::Offsets;
    if (outer.row_length == 0) return;
    parallel_for(outer.num_rows, kParallelGrain / work / outer.row_length, [&](int64_t begin, int64_t end) {
      int64_t output = begin * outer.row_length;
      outer.for_rows(begin, end, [&](const Offsets& row) {
        for (int64_t i = 0; i < outer.row_length; i++) {
          double total = 0;
          inner.for_rows(0, inner.row_length == 0 ? 0 : inner.num_rows, [&](const Offsets& at) {
            for (int64_t j = 0; j < inner.row_length; j++) {
              double product = 1;
              for (size_t k = 0; k < num_operands; k++)
                product *= static_cast<const float*>(in[k])[row[k] + i * outer.row_stride[k] + at[k] + j * inner.row_stride[k]];
              total += product;
            }
          });
          static_cast<float*>(out[0])[output++] = static_cast<float>(total);
        }
      });
    });
  });
}

std::unique_ptr<Kernel> make_einsum(const NodeSpec& spec) {
  const auto plan = plan_einsum(spec);
  if (const auto* product = std::get_if<EinsumProduct>(&plan)) return make_product(*product);
  return make_sum(std::get<EinsumSum>(plan));
}

}  // namespace

void register_einsum_kernels() { register_kernel("Einsum", make_einsum); }

}  // namespace merak
