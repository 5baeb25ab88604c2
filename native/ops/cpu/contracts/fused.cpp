// Merak's fused kernels: attention, layer norm, cross-entropy, embedding.
#include <algorithm>  // max
#include <vector>     // names

#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/shape.h"             // product

namespace merak::contracts {
namespace {

void attends(const NodeSpec& spec, bool packed, bool gradient) {
  Shape q;
  if (packed) {
    q = spec.attrs.ints("headShape");
    require(q.size() == 4, "headShape must be [B,T,h,d]");
    double size = 1;
    for (const int64_t dim : q) {
      require(dim >= 0, "headShape must not be negative");
      size *= static_cast<double>(std::max<int64_t>(1, dim));
    }
    require(size <= kMaxBytes, "headShape is larger than any memory");
    is_any_float(in(spec, "qkv"));
  } else {
    const TensorType &k = in(spec, "k"), &v = in(spec, "v");
    q = in(spec, "q").shape;
    for (const char* name : {"q", "k", "v"}) is_float(in(spec, name));
    require(q.size() == 4 && k.shape.size() == 4 && v.shape == k.shape, "q, k and v must be [B,T,h,d], k and v alike");
  }
  const int64_t size = numel(q), lines = q[0] * q[1] * q[2];
  if (!gradient) {
    is_any_float(out(spec));
    sized(out(spec), size);
    is_float(out(spec, 1));
    return sized(out(spec, 1), lines);
  }
  is_any_float(in(spec, "dy"));
  is_any_float(in(spec, "out"));
  is_float(in(spec, "logsumexp"));
  sized(in(spec, "dy"), size);
  sized(in(spec, "out"), size);
  sized(in(spec, "logsumexp"), lines);
  is_any_float(out(spec));
  for (const TensorType& type : spec.outputs) require(type.dtype == out(spec).dtype, "gradients differ in dtype");
  if (packed) return sized(out(spec), 3 * size);
  same_size(out(spec), in(spec, "q"));
  same_size(out(spec, 1), in(spec, "k"));
  same_size(out(spec, 2), in(spec, "v"));
}

void normalises(const NodeSpec& spec) {
  const TensorType& x = in(spec, "x");
  require(!x.shape.empty(), "x must have a last dim");
  const int64_t width = x.shape.back(), rows = product(x.shape, 0, x.shape.size() - 1);
  const bool gradient = spec.kernel == "MerakLayerNormGrad";
  const int dy = spec.input("dy");  // where bfloat16 may stand, as in LayerNorm's own result
  for (size_t i = 0; i < spec.inputs.size(); i++) static_cast<int>(i) == dy ? is_any_float(spec.inputs[i]) : is_float(spec.inputs[i]);
  sized(in(spec, "gamma"), width);
  same_size(out(spec), x);
  is_any_float(out(spec));
  is_float(out(spec, 1));
  is_float(out(spec, 2));
  if (gradient) {
    is_float(out(spec));
    is_any_float(in(spec, "dy"));
    same_size(in(spec, "dy"), x);
    if (spec.input("residual") >= 0) same_size(in(spec, "residual"), x);
    sized(in(spec, "mean"), rows);
    sized(in(spec, "rstd"), rows);
  } else {
    is_float(in(spec, "beta"));
    sized(in(spec, "beta"), width);
  }
  sized(out(spec, 1), gradient ? width : rows);
  sized(out(spec, 2), gradient ? width : rows);
}

void normalises_batch(const NodeSpec& spec) {
  const TensorType& x = in(spec, "x");
  require(!x.shape.empty(), "x must have channels");
  const bool gradient = spec.kernel == "MerakBatchNormGrad", relu = spec.attrs.text("activation", "linear") == "relu";
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) is_float(type);
  for (const char* name : gradient ? std::vector{"gamma", "mean", "variance"} : std::vector{"gamma", "beta"})
    sized(in(spec, name), x.shape.back());
  same_size(out(spec), x);
  for (const size_t k : {1, 2}) sized(out(spec, k), x.shape.back());
  if (!gradient) {
    if (spec.input("residual") >= 0) same_size(in(spec, "residual"), x);
    return;
  }
  same_size(in(spec, "dy"), x);
  require(relu == (spec.input("y") >= 0), "y is what tells the slope of relu");
  if (relu) same_size(in(spec, "y"), x);
  if (spec.outputs.size() == 4) same_size(out(spec, 3), x);
}

void classifies(const NodeSpec& spec) {
  const TensorType& logits = in(spec, "logits");
  require(logits.shape.size() == 2, "logits must be [N,V]");
  for (const TensorType& type : spec.outputs) is_float(type);
  const int64_t rows = logits.shape[0];
  const auto per_row = [&](const char* name) {
    is_float(in(spec, name));
    sized(in(spec, name), rows);
  };
  if (spec.kernel == "MerakSoftmaxCrossEntropyGrad") {
    per_row("dy");
    per_row("logsumexp");
    return same_size(out(spec), logits);
  }
  if (spec.kernel == "MerakShardedCrossEntropy") per_row("max");
  // The loss of a row needs a column to stand in.
  require(rows == 0 || logits.shape[1] > 0, "logits must have a column");
  sized(out(spec), rows);
  sized(out(spec, 1), rows);
}

void embeds(const NodeSpec& spec) {
  const TensorType &table = in(spec, "table"), &ids = in(spec, "ids");
  is_float(table);
  is_float(out(spec));
  require(table.shape.size() == 2, "table must be [V,H]");
  sized(out(spec), ids.numel() * table.shape[1]);
}

void embeds_gradient(const NodeSpec& spec) {
  const TensorType &dy = in(spec, "dy"), &ids = in(spec, "ids");
  is_float(out(spec));
  is(ids, DType::i32);
  require(!dy.shape.empty(), "dy must be [...,H]");
  const int64_t rows = spec.attrs.integer("vocabSize");
  require(rows >= 0, "vocabSize must not be negative");
  sized(dy, ids.numel() * dy.shape.back());
  sized(out(spec), rows * dy.shape.back());
}

}  // namespace

void add_fused_rules(Rules& rules) {
  rules.add({"MerakEmbedding"}, embeds);
  rules.add({"MerakEmbeddingGrad"}, embeds_gradient);
  rules.add({"MerakSoftmaxCrossEntropy", "MerakSoftmaxCrossEntropyGrad", "MerakShardedCrossEntropy"}, classifies);
  rules.add({"MerakLayerNorm", "MerakLayerNormGrad"}, normalises);
  rules.add({"MerakBatchNorm", "MerakBatchNormGrad"}, normalises_batch);
  rules.add({"MerakAttention"}, [](const NodeSpec& s) { attends(s, false, false); });
  rules.add({"MerakAttentionGrad"}, [](const NodeSpec& s) { attends(s, false, true); });
  rules.add({"MerakPackedAttention"}, [](const NodeSpec& s) { attends(s, true, false); });
  rules.add({"MerakPackedAttentionGrad"}, [](const NodeSpec& s) { attends(s, true, true); });
}

}  // namespace merak::contracts
