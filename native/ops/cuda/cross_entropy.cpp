// MerakSoftmaxCrossEntropy, its gradient and MerakShardedCrossEntropy on CUDA.
#include <algorithm>  // clamp

#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in cross_entropy.cu.
struct Vocabulary {
  int width, offset, limit;
};

struct Rows {
  Vocabulary vocabulary;
  unsigned num_rows, threads;

  explicit Rows(const NodeSpec& spec) {
    const TensorType& logits = spec.inputs[input_index(spec, "logits")];
    const TensorType& labels = spec.inputs[input_index(spec, "labels")];
    require(logits.dtype == DType::f32 && logits.shape.size() == 2, "logits must be float32 [N,V]");
    require(labels.dtype == DType::i32 && labels.numel() == logits.shape[0], "labels must be int32 [N]");
    require(logits.shape[0] < (int64_t{1} << 31) && logits.shape[1] < (int64_t{1} << 31), "logits are too large");
    const int64_t width = logits.shape[1];
    const auto limit = static_cast<int64_t>(spec.attrs.number("vocabLimit", static_cast<double>(width)));
    vocabulary = {static_cast<int>(width), static_cast<int>(spec.attrs.integer("vocabOffset", 0)), static_cast<int>(std::clamp<int64_t>(limit, 0, width))};
    num_rows = static_cast<unsigned>(logits.shape[0]);
    threads = width > 8192 ? 512 : width > 1024 ? 256 : 64;
  }
};

std::unique_ptr<Kernel> make_cross_entropy(const NodeSpec& spec, Device& device) {
  const Rows rows(spec);
  const size_t logits = input_index(spec, "logits"), labels = input_index(spec, "labels");
  const CUfunction function = device.function("cross_entropy", "cross_entropy");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {rows.num_rows}, {rows.threads}, 0, stream_of(context),
                  {&in[logits], &in[labels], &out[0], &out[1], &rows.vocabulary, &context.device_step});
  });
}

std::unique_ptr<Kernel> make_cross_entropy_grad(const NodeSpec& spec, Device& device) {
  const Rows rows(spec);
  const size_t dy = input_index(spec, "dy"), logits = input_index(spec, "logits"), labels = input_index(spec, "labels"),
               logsumexp = input_index(spec, "logsumexp");
  const CUfunction function = device.function("cross_entropy", "cross_entropy_grad");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {rows.num_rows}, {rows.threads}, 0, stream_of(context),
                  {&in[dy], &in[logits], &in[labels], &in[logsumexp], &out[0], &rows.vocabulary});
  });
}

std::unique_ptr<Kernel> make_sharded_cross_entropy(const NodeSpec& spec, Device& device) {
  const Rows rows(spec);
  const size_t logits = input_index(spec, "logits"), labels = input_index(spec, "labels"), max = input_index(spec, "max");
  const CUfunction function = device.function("cross_entropy", "sharded_cross_entropy");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {rows.num_rows}, {rows.threads}, 0, stream_of(context),
                  {&in[logits], &in[labels], &in[max], &out[0], &out[1], &rows.vocabulary});
  });
}

}  // namespace

void register_cuda_cross_entropy() {
  register_cuda_kernel("MerakSoftmaxCrossEntropy", make_cross_entropy);
  register_cuda_kernel("MerakSoftmaxCrossEntropyGrad", make_cross_entropy_grad);
  register_cuda_kernel("MerakShardedCrossEntropy", make_sharded_cross_entropy);
}

}  // namespace merak
