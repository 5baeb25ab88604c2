// Einsum on CUDA: a product with copies around it, or the sum itself (ops/cpu/einsum_plan.h).
#include "ops/cpu/einsum_plan.h"

#include "ops/cpu/shape.h"  // numel
#include "ops/cuda/copy.h"

namespace merak {
namespace {

using namespace cuda;

// A copy through scratch, or nothing.
struct Reordered {
  std::optional<DeviceCopy> copy;
  size_t bytes = 0;

  Reordered(Device& device, const std::optional<LayoutCopy>& c) {
    if (!c) return;
    copy.emplace(device, *c);
    bytes = rounded_up(static_cast<size_t>(numel(c->sizes)) * c->element_bytes);
  }
};

std::unique_ptr<Kernel> make_product(const EinsumProduct& plan, Device& device) {
  const std::shared_ptr<Kernel> kernel = find_cuda_kernel("BatchMatMul")(plan.product, device);
  const Reordered left(device, plan.left), right(device, plan.right), back(device, plan.back);
  const size_t result_at = left.bytes + right.bytes, inner_at = result_at + back.bytes;
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        void* const scratch = context.scratch;
        const void* operands[2] = {left.copy ? scratch : in[0], right.copy ? at(scratch, left.bytes) : in[1]};
        if (left.copy) left.copy->run(in[0], scratch, stream);
        if (right.copy) right.copy->run(in[1], at(scratch, left.bytes), stream);
        void* result = back.copy ? at(scratch, result_at) : out[0];
        context.scratch = at(scratch, inner_at);
        kernel->run(operands, &result, context);
        context.scratch = scratch;
        if (back.copy) back.copy->run(result, out[0], stream);
      },
      inner_at + kernel->scratch_bytes());
}

// As in einsum.cu: dims from the outermost in.
struct Dims {
  int rank = 0;
  uint32_t sizes[8] = {};
  int64_t strides[kMostEinsumOperands][8] = {};

  Dims(const Shape& shape, const std::vector<Shape>& by_operand) : rank(static_cast<int>(shape.size())) {
    require(shape.size() <= 8, "too many dims");
    for (size_t d = 0; d < shape.size(); d++) {
      require(shape[d] < (int64_t{1} << 32), "a dim is too large");
      sizes[d] = static_cast<uint32_t>(shape[d]);
      for (size_t k = 0; k < by_operand.size(); k++) strides[k][d] = by_operand[k][d];
    }
  }
};

std::unique_ptr<Kernel> make_sum(const EinsumSum& plan, Device& device) {
  const Dims outer(plan.outer_sizes, plan.outer_strides), inner(plan.inner_sizes, plan.inner_strides);
  const int num_operands = static_cast<int>(plan.outer_strides.size());
  const int64_t outputs = numel(plan.outer_sizes), summed = numel(plan.inner_sizes);
  require(outputs < (int64_t{1} << 31), "too many results");
  const CUfunction function = device.function("einsum", "einsum");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const auto operand = [&](int k) { return in[k < num_operands ? k : 0]; };
    const void* operands[kMostEinsumOperands] = {operand(0), operand(1), operand(2), operand(3)};
    device.launch(function, {static_cast<unsigned>(outputs)}, {32}, 0, stream_of(context), {&operands[0], &operands[1], &operands[2], &operands[3], &out[0], &num_operands, &outer, &inner, &summed});
  });
}

std::unique_ptr<Kernel> make_einsum(const NodeSpec& spec, Device& device) {
  const auto plan = plan_einsum(spec);
  if (const auto* product = std::get_if<EinsumProduct>(&plan)) return make_product(*product, device);
  return make_sum(std::get<EinsumSum>(plan), device);
}

}  // namespace

void register_cuda_einsum() { register_cuda_kernel("Einsum", make_einsum); }

}  // namespace merak
