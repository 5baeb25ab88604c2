// MerakEmbedding and MerakEmbeddingGrad. The gradient also takes `accumulate` (engine only): output += gradient.
#include <atomic>   // bad id
#include <cstring>  // memcpy

#include "ops/cpu/isa/fused.h"    // add_to
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

std::unique_ptr<Kernel> make_embedding(const NodeSpec& spec) {
  const size_t it = input_index(spec, "table"), ii = input_index(spec, "ids");
  const TensorType& table = spec.inputs[it];
  require(table.shape.size() == 2 && size_of(table.dtype) == 4, "table must be [V,H]");
  require(spec.inputs[ii].dtype == DType::i32, "ids must be int32");
  const int64_t num_rows = table.shape[0], width = table.shape[1], num_ids = spec.inputs[ii].numel();
  const int64_t offset = spec.attrs.integer("vocabOffset", 0);
  const bool sharded = spec.attrs.flag("sharded", false);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* rows = static_cast<const float*>(inputs[it]);
    const auto* ids = static_cast<const int32_t*>(inputs[ii]);
    auto* out = static_cast<float*>(outputs[0]);
    const size_t bytes = static_cast<size_t>(width) * sizeof(float);
    std::atomic<int64_t> bad{-1};
    parallel_for(num_ids, std::max<int64_t>(1, kParallelGrain / std::max<int64_t>(1, width)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t row = ids[i] - offset;
        if (row >= 0 && row < num_rows) {
          std::memcpy(out + i * width, rows + row * width, bytes);
        } else {
          std::memset(out + i * width, 0, bytes);
          if (!sharded) bad = i;
        }
      }
    });
    if (bad >= 0)
      throw std::runtime_error("id " + std::to_string(ids[bad]) + " is outside the table's [0, " + std::to_string(num_rows) + ")");
  });
}

std::unique_ptr<Kernel> make_embedding_grad(const NodeSpec& spec) {
  const size_t idy = input_index(spec, "dy"), ii = input_index(spec, "ids");
  const TensorType& dy_type = spec.inputs[idy];
  require(dy_type.dtype == DType::f32 && !dy_type.shape.empty(), "dy must be float32 [...,H]");
  const int64_t width = dy_type.shape.back(), num_ids = spec.inputs[ii].numel();
  const int64_t num_rows = spec.attrs.integer("vocabSize");
  const int64_t offset = spec.attrs.integer("vocabOffset", 0);
  const bool accumulate = spec.attrs.flag("accumulate", false);
  const auto add = MERAK_PICK(add_to);
  // Each thread owns columns, and goes over the ids in order: the sum's order is fixed and nobody waits.
  constexpr int64_t kColumns = 64;
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* dy = static_cast<const float*>(inputs[idy]);
    const auto* ids = static_cast<const int32_t*>(inputs[ii]);
    auto* gradient = static_cast<float*>(outputs[0]);
    if (!accumulate)
      parallel_for(num_rows * width, 1 << 16, [&](int64_t begin, int64_t end) {
        std::memset(gradient + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
      });
    parallel_for(width, kColumns, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < num_ids; i++) {
        const int64_t row = ids[i] - offset;
        if (row >= 0 && row < num_rows) add(dy + i * width + begin, gradient + row * width + begin, static_cast<size_t>(end - begin));
      }
    });
  });
}

}  // namespace

void register_embedding_kernels() {
  register_kernel("MerakEmbedding", make_embedding);
  register_kernel("MerakEmbeddingGrad", make_embedding_grad);
}

}  // namespace merak
