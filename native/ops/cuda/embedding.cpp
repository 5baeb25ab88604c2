// MerakEmbedding and MerakEmbeddingGrad on CUDA. The gradient also takes `accumulate` (engine only): output += gradient.
#include "ops/cuda/scatter.h"

namespace merak {
namespace {

using namespace cuda;

std::unique_ptr<Kernel> make_embedding(const NodeSpec& spec, Device& device) {
  const size_t table = input_index(spec, "table"), ids = input_index(spec, "ids");
  const TensorType& rows = spec.inputs[table];
  require(rows.dtype == DType::f32 && spec.inputs[ids].dtype == DType::i32, "table must be float32, ids int32");
  const int64_t num_ids = spec.inputs[ids].numel();
  const int num_rows = static_cast<int>(rows.shape[0]), width = static_cast<int>(rows.shape[1]);
  const int offset = static_cast<int>(spec.attrs.integer("vocabOffset", 0)), sharded = spec.attrs.flag("sharded", false);
  const CUfunction function = device.function("embedding", "embedding");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(num_ids, 8)}, {256}, 0, stream_of(context),
                  {&in[table], &in[ids], &out[0], &num_ids, &num_rows, &width, &offset, &sharded, &context.device_step});
  });
}

std::unique_ptr<Kernel> make_embedding_grad(const NodeSpec& spec, Device& device) {
  const size_t dy = input_index(spec, "dy"), ids = input_index(spec, "ids");
  require(spec.inputs[dy].dtype == DType::f32, "dy must be float32");
  const int offset = static_cast<int>(spec.attrs.integer("vocabOffset", 0));
  const bool accumulate = spec.attrs.flag("accumulate", false);
  const size_t bytes = spec.outputs[0].bytes();
  const DeviceScatter scatter(device, DType::f32, false, spec.inputs[ids].numel(), spec.attrs.integer("vocabSize"), spec.inputs[dy].shape.back());
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        if (!accumulate) set_zero(out[0], bytes, stream);
        scatter.run(in[dy], in[ids], out[0], context.scratch, stream, offset);
      },
      scatter.scratch_bytes());
}

}  // namespace

void register_cuda_embedding() {
  register_cuda_kernel("MerakEmbedding", make_embedding);
  register_cuda_kernel("MerakEmbeddingGrad", make_embedding_grad);
}

}  // namespace merak
