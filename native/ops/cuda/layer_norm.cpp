// MerakLayerNorm and MerakLayerNormGrad on CUDA.
#include <algorithm>  // min

#include "ops/cuda/column_sum.h"

namespace merak {
namespace {

using namespace cuda;

// How threads share a row.
struct RowPlan {
  int64_t num_rows, width, vector, threads, per, block;
  int64_t rows_per_block() const { return block / threads; }

  // `most`: elements a lane may hold for a warp to take a row.
  RowPlan(const NodeSpec& spec, size_t input, int64_t most) {
    const TensorType& x = spec.inputs[input];
    require(x.dtype == DType::f32 && !x.shape.empty(), "x must be float32 with a last dim");
    width = x.shape.back();
    num_rows = width == 0 ? 0 : x.numel() / width;
    vector = vector_of(width);
    threads = width <= 32 * most ? 32 : width <= 8192 ? 256 : 1024;
    block = std::max<int64_t>(threads, 128);
    per = std::max<int64_t>(1, (width + threads * vector - 1) / (threads * vector));
    require(per * vector <= 64, "rows are too long");
  }
  std::vector<std::string> defines(DType y, DType dy) const {
    return {define("THREADS", threads), define("VECTOR", vector), define("PER", per), define("Y", y), define("DY", dy)};
  }
};

std::unique_ptr<Kernel> make_layer_norm(const NodeSpec& spec, Device& device) {
  const size_t x = input_index(spec, "x"), gamma = input_index(spec, "gamma"), beta = input_index(spec, "beta");
  const RowPlan plan(spec, x, 32);
  const float epsilon = static_cast<float>(spec.attrs.number("epsilon"));
  const CUfunction function = device.function("layer_norm", "layer_norm", plan.defines(spec.outputs[0].dtype, DType::f32));
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const int num_rows = static_cast<int>(plan.num_rows), width = static_cast<int>(plan.width);
    device.launch(function, {blocks_for(num_rows, plan.rows_per_block())}, {static_cast<unsigned>(plan.block)}, 0, stream_of(context),
                  {&in[x], &in[gamma], &in[beta], &out[0], &out[1], &out[2], &num_rows, &width, &epsilon});
  });
}

std::unique_ptr<Kernel> make_layer_norm_grad(const NodeSpec& spec, Device& device) {
  const size_t dy = input_index(spec, "dy"), x = input_index(spec, "x"), gamma = input_index(spec, "gamma"), mean = input_index(spec, "mean"),
               rstd = input_index(spec, "rstd");
  const int residual = spec.input("residual");
  const RowPlan plan(spec, x, 24);
  const CUfunction function = device.function("layer_norm", "layer_norm_grad", plan.defines(DType::f32, spec.inputs[dy].dtype));
  // Each block leaves the sums of its rows; they are added up in order.
  const int64_t num_blocks = std::max<int64_t>(1, std::min<int64_t>((plan.num_rows + plan.rows_per_block() - 1) / plan.rows_per_block(), 264));
  const ColumnSum sum(device, DType::f32, num_blocks, plan.width);
  const size_t parts_bytes = rounded_up(static_cast<size_t>(2 * num_blocks * plan.width) * sizeof(float));
  const size_t shared = plan.threads == 32 ? static_cast<size_t>(2 * plan.width) * sizeof(float) : 0;
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const int num_rows = static_cast<int>(plan.num_rows), width = static_cast<int>(plan.width);
        if (width == 0) return;
        const void* more = residual < 0 ? nullptr : in[residual];
        auto* parts = static_cast<float*>(context.scratch);
        void* rest = at(parts, parts_bytes);
        device.launch(function, {static_cast<unsigned>(num_blocks)}, {static_cast<unsigned>(plan.block)}, shared, stream_of(context),
                      {&in[dy], &in[x], &in[gamma], &in[mean], &in[rstd], &more, &out[0], &parts, &num_rows, &width});
        sum.run(parts, static_cast<float*>(out[1]), false, rest, stream_of(context));
        sum.run(parts + num_blocks * width, static_cast<float*>(out[2]), false, rest, stream_of(context));
      },
      parts_bytes + sum.scratch_bytes());
}

}  // namespace

void register_cuda_layer_norm() {
  register_cuda_kernel("MerakLayerNorm", make_layer_norm);
  register_cuda_kernel("MerakLayerNormGrad", make_layer_norm_grad);
}

}  // namespace merak
