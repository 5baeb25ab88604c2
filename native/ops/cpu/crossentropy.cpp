// MerakSoftmaxCrossEntropy, its gradient, and MerakShardedCrossEntropy.
#include <algorithm>  // std::clamp
#include <atomic>     // bad label
#include <cmath>    // infinity
#include <cstring>  // memset

#include "ops/cpu/isa/fused.h"    // the row loops
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

struct Vocabulary {
  int64_t num_rows, width;
  int64_t offset, limit;  // label of column 0; how many columns are valid
  size_t valid() const { return static_cast<size_t>(limit); }
  int64_t grain() const { return std::max<int64_t>(1, kParallelGrain / 2 / std::max<int64_t>(1, width)); }
  // Column of a label, or -1 when it lies elsewhere.
  int64_t column(int32_t label) const {
    const int64_t column = label - offset;
    return label >= 0 && column >= 0 && column < limit ? column : -1;
  }
};

Vocabulary vocabulary_of(const NodeSpec& spec) {
  const TensorType& logits = spec.inputs[input_index(spec, "logits")];
  const TensorType& labels = spec.inputs[input_index(spec, "labels")];
  require(logits.dtype == DType::f32 && logits.shape.size() == 2, "logits must be float32 [N,V]");
  require(labels.dtype == DType::i32 && labels.numel() == logits.shape[0], "labels must be int32 [N]");
  const int64_t width = logits.shape[1];
  const int64_t limit = static_cast<int64_t>(spec.attrs.number("vocabLimit", static_cast<double>(width)));
  return {logits.shape[0], width, spec.attrs.integer("vocabOffset", 0), std::clamp<int64_t>(limit, 0, width)};
}

std::unique_ptr<Kernel> make_cross_entropy(const NodeSpec& spec) {
  const Vocabulary vocabulary = vocabulary_of(spec);
  const size_t ix = input_index(spec, "logits"), il = input_index(spec, "labels");
  const auto max = MERAK_PICK(row_max);
  const auto sum_exp = MERAK_PICK(row_sum_exp);
  const auto log = MERAK_PICK(natural_log);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* logits = static_cast<const float*>(inputs[ix]);
    const auto* labels = static_cast<const int32_t*>(inputs[il]);
    auto *loss = static_cast<float*>(outputs[0]), *logsumexp = static_cast<float*>(outputs[1]);
    std::atomic<int64_t> bad_row{-1};
    parallel_for(vocabulary.num_rows, vocabulary.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const float* row = logits + r * vocabulary.width;
        const float highest = max(row, vocabulary.valid());
        logsumexp[r] = std::isfinite(highest) ? highest + log(sum_exp(row, highest, vocabulary.valid())) : highest;
        const int64_t column = vocabulary.column(labels[r]);
        if (column < 0 && labels[r] >= 0) bad_row = r;
        loss[r] = column < 0 ? 0.0f : logsumexp[r] - row[column];
      }
    });
    if (bad_row >= 0)
      throw std::runtime_error("label " + std::to_string(labels[bad_row]) + " is outside the vocabulary of " +
                               std::to_string(vocabulary.limit));
  });
}

std::unique_ptr<Kernel> make_cross_entropy_grad(const NodeSpec& spec) {
  const Vocabulary vocabulary = vocabulary_of(spec);
  const size_t idy = input_index(spec, "dy"), ix = input_index(spec, "logits"), il = input_index(spec, "labels"),
               is = input_index(spec, "logsumexp");
  const auto exp_scaled = MERAK_PICK(row_exp_scaled);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto *dy = static_cast<const float*>(inputs[idy]), *logits = static_cast<const float*>(inputs[ix]),
               *logsumexp = static_cast<const float*>(inputs[is]);
    const auto* labels = static_cast<const int32_t*>(inputs[il]);
    auto* dlogits = static_cast<float*>(outputs[0]);
    parallel_for(vocabulary.num_rows, vocabulary.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        float* row = dlogits + r * vocabulary.width;
        if (labels[r] < 0) {
          std::memset(row, 0, static_cast<size_t>(vocabulary.width) * sizeof(float));
          continue;
        }
        exp_scaled(logits + r * vocabulary.width, logsumexp[r], dy[r], row, vocabulary.valid());
        for (int64_t c = vocabulary.limit; c < vocabulary.width; c++) row[c] = 0;
        const int64_t column = vocabulary.column(labels[r]);
        if (column >= 0) row[column] -= dy[r];
      }
    });
  });
}

std::unique_ptr<Kernel> make_sharded_cross_entropy(const NodeSpec& spec) {
  const Vocabulary vocabulary = vocabulary_of(spec);
  const size_t ix = input_index(spec, "logits"), il = input_index(spec, "labels"), im = input_index(spec, "max");
  const auto sum_of = MERAK_PICK(row_sum_exp);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto *logits = static_cast<const float*>(inputs[ix]), *max = static_cast<const float*>(inputs[im]);
    const auto* labels = static_cast<const int32_t*>(inputs[il]);
    auto *sum_exp = static_cast<float*>(outputs[0]), *target = static_cast<float*>(outputs[1]);
    parallel_for(vocabulary.num_rows, vocabulary.grain(), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const float* row = logits + r * vocabulary.width;
        sum_exp[r] = sum_of(row, max[r], vocabulary.valid());
        const int64_t column = vocabulary.column(labels[r]);
        target[r] = column < 0 ? 0.0f : row[column];
      }
    });
  });
}

}  // namespace

void register_crossentropy_kernels() {
  register_kernel("MerakSoftmaxCrossEntropy", make_cross_entropy);
  register_kernel("MerakSoftmaxCrossEntropyGrad", make_cross_entropy_grad);
  register_kernel("MerakShardedCrossEntropy", make_sharded_cross_entropy);
}

}  // namespace merak
