// MerakEmbedding and MerakEmbeddingGrad on CUDA. The gradient also takes `accumulate` (engine only): output += gradient.
#include <algorithm>  // clamp

#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

constexpr int64_t kChunk = 1024;  // as in embedding.cu

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
  const int64_t num_ids = spec.inputs[ids].numel(), num_chunks = (num_ids + kChunk - 1) / kChunk;
  const int num_rows = static_cast<int>(spec.attrs.integer("vocabSize")), width = static_cast<int>(spec.inputs[dy].shape.back());
  const int offset = static_cast<int>(spec.attrs.integer("vocabOffset", 0)), chunks = static_cast<int>(num_chunks);
  const bool accumulate = spec.attrs.flag("accumulate", false);
  const size_t bytes = spec.outputs[0].bytes();
  const CUfunction sort = device.function("embedding", "sort_ids"), sum = device.function("embedding", "embedding_grad");
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>((width + 31) / 32 * 32, 32, 256));
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        if (!accumulate) set_zero(out[0], bytes, stream);
        device.launch(sort, {static_cast<unsigned>(chunks)}, {256}, 0, stream, {&in[ids], &context.scratch, &num_ids, &num_rows, &offset});
        device.launch(sum, {static_cast<unsigned>(num_chunks * kChunk)}, {threads}, 0, stream, {&in[dy], &context.scratch, &out[0], &chunks, &width});
      },
      static_cast<size_t>(num_chunks * kChunk) * sizeof(uint64_t));
}

}  // namespace

void register_cuda_embedding() {
  register_cuda_kernel("MerakEmbedding", make_embedding);
  register_cuda_kernel("MerakEmbeddingGrad", make_embedding_grad);
}

}  // namespace merak
