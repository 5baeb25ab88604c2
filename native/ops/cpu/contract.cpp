// The contracts of contract.h: first what holds for every kernel, then a rule for each kernel that has more.
#include "ops/cpu/contract.h"

#include <algorithm>      // max
#include <functional>     // rules
#include <set>            // kernel families
#include <unordered_map>  // the table

#include "ops/cpu/make_kernel.h"  // require, input_index
#include "ops/cpu/matmul_bf16.h"  // multiplies_in_bf16
#include "ops/cpu/matmul_plan.h"  // plan_matmul
#include "ops/cpu/shape.h"        // product, reduction_axes

namespace merak {
namespace {

constexpr size_t kMaxRank = 8;
constexpr double kMaxBytes = 1e15;  // beyond any machine, and such that no product of a few sizes leaves int64

// Sizes that are negative or overflow, names without a tensor.
void check_types(const NodeSpec& spec) {
  if (spec.input_names.size() > spec.inputs.size()) throw std::runtime_error("a node has more input names than inputs");
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) {
      if (type.dtype > DType::i8) throw std::runtime_error("a tensor has an unknown dtype");
      if (type.shape.size() > kMaxRank) throw std::runtime_error("a tensor has more than " + std::to_string(kMaxRank) + " dims");
      double bytes = static_cast<double>(size_of(type.dtype));
      for (const int64_t dim : type.shape) {
        if (dim < 0) throw std::runtime_error("a tensor has a negative dim");
        // Zeros count as ones, so that the sizes of parts cannot overflow either.
        bytes *= static_cast<double>(std::max<int64_t>(1, dim));
      }
      if (!(bytes <= kMaxBytes)) throw std::runtime_error("a tensor is larger than any memory");
    }
}

// Where bfloat16 or int8 may stand; all others read and write float32, int32 and bool.
const std::set<std::string> kTakesNarrow = {
    "BatchMatMul", "_FusedMatMul", "MerakProduct", "MerakQuantise", "MerakQuantisedMatMul", "MerakColumnSum", "MerakGelu", "MerakGeluGrad", "MerakLayerNorm", "MerakLayerNormGrad", "MerakAttention",
    "MerakAttentionGrad", "MerakPackedAttention", "MerakPackedAttentionGrad", "MerakAssign", "MerakFanOut",
    "Identity", "Reshape", "ExpandDims", "Squeeze"};
const std::set<std::string> kHasNoInput = {"Fill", "Range", "LinSpace", "MerakRandom"};
const std::unordered_map<std::string, size_t> kNumOutputs = {
    {"MaxPoolWithArgmax", 2}, {"MerakAttention", 2}, {"MerakAttentionGrad", 3}, {"MerakLayerNorm", 3}, {"MerakLayerNormGrad", 3},
    {"MerakPackedAttention", 2}, {"MerakShardedCrossEntropy", 2}, {"MerakSoftmaxCrossEntropy", 2}, {"NonMaxSuppressionV3", 2},
    {"NonMaxSuppressionV4", 2}, {"NonMaxSuppressionV5", 3}, {"TopK", 2}, {"Unique", 3}};

void check_arity(const NodeSpec& spec) {
  require(kHasNoInput.contains(spec.kernel) || !spec.inputs.empty(), "an input is missing");
  const bool is_product = spec.kernel == "BatchMatMul" || spec.kernel == "_FusedMatMul" || spec.kernel == "MerakProduct";
  if (is_product) return require(!spec.outputs.empty() && spec.outputs.size() <= 2, "the number of outputs is wrong");
  if (spec.kernel == "SplitV" || spec.kernel == "Unpack") return require(!spec.outputs.empty(), "an output is missing");
  const auto found = kNumOutputs.find(spec.kernel);
  require(spec.outputs.size() == (found == kNumOutputs.end() ? 1 : found->second), "the number of outputs is wrong");
}

void check_narrow(const NodeSpec& spec) {
  if (kTakesNarrow.contains(spec.kernel)) return;
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) require(type.dtype != DType::bf16 && type.dtype != DType::i8, "the kernel takes no bfloat16 and no int8");
}

using Rule = std::function<void(const NodeSpec&)>;

const TensorType& in(const NodeSpec& spec, const char* name) { return spec.inputs[input_index(spec, name)]; }
const TensorType& out(const NodeSpec& spec, size_t i = 0) { return spec.outputs[i]; }

void same_size(const TensorType& a, const TensorType& b) { require(a.numel() == b.numel(), "tensors differ in size that must not"); }
void same_type(const TensorType& a, const TensorType& b) {
  same_size(a, b);
  require(a.dtype == b.dtype, "tensors differ in dtype that must not");
}
void sized(const TensorType& type, int64_t numel) { require(type.numel() == numel, "a tensor has the wrong size"); }
void is(const TensorType& type, DType dtype) { require(type.dtype == dtype, "a tensor has the wrong dtype"); }
void is_float(const TensorType& type) { is(type, DType::f32); }
void is_any_float(const TensorType& type) { require(type.dtype == DType::f32 || type.dtype == DType::bf16, "a tensor must be float"); }

// The result is as the first input.
void keeps_type(const NodeSpec& spec) { same_type(spec.inputs[0], out(spec)); }
void keeps_size(const NodeSpec& spec) { same_size(spec.inputs[0], out(spec)); }
void keeps_float(const NodeSpec& spec) {
  is_float(spec.inputs[0]);
  keeps_type(spec);
}
void all_float(const NodeSpec& spec) {
  for (const TensorType& type : spec.inputs) is_float(type);
  for (const TensorType& type : spec.outputs) is_float(type);
}
void same_dtype(const NodeSpec& spec) { require(spec.inputs[0].dtype == out(spec).dtype, "the result must have the input's dtype"); }

int64_t kept_size(const NodeSpec& spec, const std::vector<int64_t>& axes) {
  const Shape& shape = spec.inputs[0].shape;
  int64_t size = 1;
  for (size_t d = 0; d < shape.size(); d++)
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) size *= shape[d];
  return size;
}
void reduces(const NodeSpec& spec) {
  sized(out(spec), kept_size(spec, reduction_axes(spec, spec.kernel == "Max" ? "reductionIndices" : "axis", spec.inputs[0].shape.size())));
}
void reduces_one(const NodeSpec& spec) {
  sized(out(spec), kept_size(spec, {normalise_axis(spec.attrs.ints("axis", {0}).at(0), spec.inputs[0].shape.size())}));
}
void has_axis(const NodeSpec& spec) { normalise_axis(spec.attrs.ints("axis", {0}).at(0), spec.inputs[0].shape.size()); }

void multiplies(const NodeSpec& spec) {
  require(spec.inputs.size() >= 2, "a product needs two operands");
  for (size_t i = 0; i < 2; i++) require(spec.inputs[i].dtype != DType::i8, "a product takes no int8");
  double size = 1;
  for (const int64_t dim : plan_matmul(spec).c_shape) size *= static_cast<double>(dim);
  require(size == static_cast<double>(out(spec).numel()), "the result does not fit the operands");
  if (multiplies_in_bf16(spec)) return;  // whose finish looks at the rest
  require(spec.outputs.size() == 1 && spec.inputs.size() <= 3 && (spec.inputs.size() == 3) == (spec.input("bias") == 2),
          "a product takes a bias and nothing else");
  require(out(spec).dtype == (spec.inputs[0].dtype == DType::i32 ? DType::i32 : DType::f32), "the result has the wrong dtype");
}

void multiplies_quantised(const NodeSpec& spec) {
  const TensorType &a = in(spec, "a"), &b = in(spec, "b");
  require(!a.shape.empty() && b.shape.size() == 2 && a.shape.back() > 0, "a must be [..., inner], b [inner, columns]");
  const double size = static_cast<double>(a.numel()) / static_cast<double>(a.shape.back()) * static_cast<double>(b.shape[1]);
  require(size == static_cast<double>(out(spec).numel()), "the result does not fit the operands");
}

void pools(const NodeSpec& spec) { all_float(spec); }
void pool_gradient(const NodeSpec& spec) {
  all_float(spec);
  if (spec.input("input") >= 0) same_size(in(spec, "input"), out(spec));
}

void gathers(const NodeSpec& spec) {
  const TensorType &x = in(spec, "x"), &indices = in(spec, "indices");
  same_dtype(spec);
  const auto axis = static_cast<size_t>(normalise_axis(spec.attrs.ints("axis", {0}).at(0), x.shape.size()));
  int64_t batch_dims = spec.attrs.integer("batchDims", 0);
  if (batch_dims < 0) batch_dims += static_cast<int64_t>(indices.shape.size());
  require(batch_dims >= 0 && static_cast<size_t>(batch_dims) <= std::min(axis, indices.shape.size()), "batchDims is out of range");
  for (size_t d = 0; d < static_cast<size_t>(batch_dims); d++) require(x.shape[d] == indices.shape[d], "batch dims differ");
  const int64_t batch = product(x.shape, 0, static_cast<size_t>(batch_dims));
  require(batch != 0 || out(spec).numel() == 0, "the result has the wrong size");
  if (batch) sized(out(spec), x.numel() / std::max<int64_t>(1, x.shape[axis]) * (indices.numel() / batch) * (x.shape[axis] == 0 ? 0 : 1));
  if (batch && x.shape[axis] == 0) require(indices.numel() == 0, "nothing can be gathered from an empty dim");
}

// Rows of indices name slices of a tensor of `shape`.
void indexed(const TensorType& indices, size_t depth, const Shape& shape, const TensorType& slices) {
  is(indices, DType::i32);
  require(depth <= shape.size(), "indices name more dims than the tensor has");
  const int64_t rows = depth == 0 ? product(indices.shape, 0, indices.shape.size() - 1) : indices.numel() / static_cast<int64_t>(depth);
  sized(slices, rows * product(shape, depth, shape.size()));
}
size_t scatter_depth(const TensorType& indices) { return indices.shape.size() > 1 ? static_cast<size_t>(indices.shape.back()) : 1; }

void blocks(const NodeSpec& spec, const TensorType& image, const TensorType& batched, const char* edges) {
  same_dtype(spec);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), pairs = spec.attrs.ints(edges);
  require(pairs.size() == 2 * block.size() && image.shape.size() > block.size() && batched.shape.size() == image.shape.size(),
          "blockShape does not fit the tensors");
  int64_t num_blocks = 1;
  for (size_t d = 0; d < block.size(); d++) {
    require(block[d] > 0 && block[d] <= (1 << 20), "a block must have a positive size");
    num_blocks *= block[d];
    require(num_blocks <= (1 << 20), "blocks are too large");
    require(pairs[2 * d] >= 0 && pairs[2 * d + 1] >= 0, "edges must not be negative");
    require(batched.shape[d + 1] * block[d] == image.shape[d + 1] + pairs[2 * d] + pairs[2 * d + 1], "spatial dims do not fit the blocks");
  }
  require(batched.shape[0] == image.shape[0] * num_blocks, "the batch does not fit the blocks");
  for (size_t d = block.size() + 1; d < image.shape.size(); d++) require(image.shape[d] == batched.shape[d], "the last dims differ");
}

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

// Collectives: sizes of shards, whatever the degree.
int64_t cut(const NodeSpec& spec) {
  const int64_t dim = spec.attrs.integer("dim");
  require(dim >= 0 && dim < static_cast<int64_t>(spec.inputs[0].shape.size()), "dim is past the last one");
  require(spec.attrs.integer("parts", 1) > 0, "parts must be positive");
  same_dtype(spec);
  require(out(spec).shape.size() == spec.inputs[0].shape.size(), "the result must have the input's rank");
  for (size_t d = 0; d < out(spec).shape.size(); d++)
    require(static_cast<int64_t>(d) == dim || out(spec).shape[d] == spec.inputs[0].shape[d], "only the cut dim may change");
  return dim;
}
void scatters(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t degree = spec.attrs.integer("degree");
  require(degree > 0 && out(spec).shape[dim] * degree == spec.inputs[0].shape[dim], "the shard has the wrong size");
}
void shards(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t degree = spec.attrs.integer("degree"), size = spec.attrs.integer("paddedSize", spec.inputs[0].shape[dim]);
  require(degree > 0 && size >= 0 && out(spec).shape[dim] * degree == size, "the shard has the wrong size");
}
void gathers_shards(const NodeSpec& spec) {
  const auto dim = static_cast<size_t>(cut(spec));
  const int64_t local = spec.inputs[0].shape[dim], size = out(spec).shape[dim];
  const int64_t degree = spec.attrs.integer("degree", local == 0 ? 1 : (size + local - 1) / local);
  require(degree > 0 && degree <= 4096 && local * degree >= size, "the shards do not make the whole");
}

void images(const NodeSpec& spec, const TensorType& image, const TensorType& result) {
  require(image.shape.size() == 4 && result.shape.size() == 4, "images must be [batch, height, width, channels]");
  require(image.shape[3] == result.shape[3], "channels must not change");
  require(result.numel() == 0 || image.numel() > 0, "an empty image cannot be resampled");
}
void resizes(const NodeSpec& spec) {
  images(spec, spec.inputs[0], out(spec));
  require(spec.inputs[0].shape[0] == out(spec).shape[0], "the batch must not change");
}
void resize_gradient(const NodeSpec& spec) {
  is_float(out(spec));
  same_size(in(spec, "images"), out(spec));
  images(spec, in(spec, "images"), in(spec, "dy"));
  require(in(spec, "images").shape[0] == in(spec, "dy").shape[0], "the batch must not change");
}

void selects(const NodeSpec& spec) {
  const TensorType &boxes = in(spec, "boxes"), &scores = in(spec, "scores");
  require(scores.shape.size() == 1 && boxes.numel() == 4 * scores.numel() && scores.numel() < (int64_t{1} << 31), "boxes must be [n, 4], scores [n]");
  is(out(spec), DType::i32);
  if (spec.kernel != "NonMaxSuppressionV5") return;
  is_float(out(spec, 1));
  same_size(out(spec), out(spec, 1));
}

void dilates(const NodeSpec& spec) {
  const TensorType &x = in(spec, "x"), &filter = in(spec, "filter");
  all_float(spec);
  require(x.shape.size() == 4 && filter.shape.size() == 3 && filter.shape[2] == x.shape[3], "x must be [b,h,w,c] and the filter [h,w,c]");
  if (spec.kernel != "Dilation2D") same_size(out(spec), spec.kernel == "Dilation2DBackpropInput" ? x : filter);
}

const std::unordered_map<std::string, Rule>& rules() {
  static const std::unordered_map<std::string, Rule> table = [] {
    std::unordered_map<std::string, Rule> t;
    const auto add = [&](std::initializer_list<const char*> names, const Rule& rule) {
      for (const char* name : names) t[name] = rule;
    };
    add({"BatchMatMul", "_FusedMatMul"}, multiplies);
    add({"MerakProduct"}, [](const NodeSpec& s) {
      require(s.inputs.size() >= 2 && multiplies_in_bf16(s), "a product with a finish multiplies in bfloat16");
      multiplies(s);
    });
    add({"MerakQuantisedMatMul"}, multiplies_quantised);
    add({"MerakQuantise"}, keeps_size);
    add({"Cumsum", "Cumprod"}, [](const NodeSpec& s) { keeps_size(s); has_axis(s); });
    add({"Softmax", "LogSoftmax", "LRN", "MerakDropout", "MerakAllReduce", "MerakAllReduceStart"}, keeps_float);
    add({"Reverse", "FlipLeftRight", "RotateWithOffset", "MatrixBandPart", "MerakFanOut", "MerakWait"}, keeps_type);
    add({"LRNGrad"}, [](const NodeSpec& s) {
      all_float(s);
      for (const TensorType& type : s.inputs) same_size(type, out(s));
    });
    add({"MerakGelu"}, [](const NodeSpec& s) { keeps_size(s); is_any_float(out(s)); });
    add({"MerakGeluGrad"}, [](const NodeSpec& s) {
      same_size(in(s, "x"), in(s, "dy"));
      keeps_size(s);
      is_any_float(out(s));
    });
    add({"Sum", "Mean", "Max", "Min", "Prod", "All", "Any"}, reduces);
    add({"ArgMax", "ArgMin"}, [](const NodeSpec& s) {
      reduces_one(s);
      require(s.inputs[0].numel() > 0 || out(s).numel() == 0, "an empty dim has no extreme");
    });
    add({"TopK"}, [](const NodeSpec& s) {
      same_dtype(s);
      require(!s.inputs[0].shape.empty(), "the input must have a dim");
      is(out(s, 1), DType::i32);
      same_size(out(s), out(s, 1));
      sized(out(s), product(s.inputs[0].shape, 0, s.inputs[0].shape.size() - 1) * s.attrs.integer("k", 1));
    });
    add({"Transpose"}, [](const NodeSpec& s) {
      same_dtype(s);
      const std::vector<int64_t> perm = s.attrs.ints("perm");
      const Shape &x = s.inputs[0].shape, &y = out(s).shape;
      require(perm.size() == x.size() && y.size() == x.size(), "perm must name every dim");
      std::set<int64_t> seen(perm.begin(), perm.end());
      for (size_t d = 0; d < perm.size(); d++)
        require(seen.size() == perm.size() && perm[d] >= 0 && perm[d] < static_cast<int64_t>(x.size()) && y[d] == x[static_cast<size_t>(perm[d])],
                "perm must name every dim once, and the result be so permuted");
    });
    add({"Slice"}, [](const NodeSpec& s) {
      same_dtype(s);
      const Shape &x = s.inputs[0].shape, &y = out(s).shape;
      const size_t named = s.attrs.ints("begin").size();
      require(x.size() == y.size() && named <= x.size(), "a slice keeps the rank");
      for (size_t d = named; d < x.size(); d++) require(y[d] <= x[d], "the slice leaves the tensor");
    });
    add({"StridedSlice", "BroadcastTo", "SplitV", "Unpack", "Concat", "Pack"}, same_dtype);
    add({"Tile"}, [](const NodeSpec& s) {
      same_dtype(s);
      const Shape &x = s.inputs[0].shape, &y = out(s).shape;
      require(x.size() == y.size(), "tiling keeps the rank");
      for (size_t d = 0; d < x.size(); d++) require(x[d] == 0 ? y[d] == 0 : y[d] % x[d] == 0, "a dim is no multiple of the input's");
    });
    add({"PadV2", "MirrorPad"}, [](const NodeSpec& s) {
      same_dtype(s);
      const Shape &x = s.inputs[0].shape, &y = out(s).shape;
      const std::vector<int64_t> p = s.attrs.ints("paddings");
      require(x.size() == y.size() && p.size() == 2 * x.size(), "paddings must give two numbers for every dim");
      for (size_t d = 0; d < x.size(); d++)
        require(p[2 * d] >= 0 && p[2 * d + 1] >= 0 && y[d] == x[d] + p[2 * d] + p[2 * d + 1], "the result does not fit the paddings");
    });
    add({"SpaceToBatchND"}, [](const NodeSpec& s) { blocks(s, s.inputs[0], out(s), "paddings"); });
    add({"BatchToSpaceND"}, [](const NodeSpec& s) { blocks(s, out(s), s.inputs[0], "crops"); });
    add({"DepthToSpace"}, [](const NodeSpec& s) {
      same_dtype(s);
      const Shape &x = s.inputs[0].shape, &y = out(s).shape;
      const int64_t block = s.attrs.integer("blockSize");
      require(x.size() == 4 && block > 0 && block <= 4096, "the input must be an image, blockSize positive");
      require(y == Shape({x[0], x[1] * block, x[2] * block, x[3] / (block * block)}) && x[3] % (block * block) == 0, "the result does not fit blockSize");
    });
    add({"GatherV2"}, gathers);
    add({"GatherNd"}, [](const NodeSpec& s) {
      const TensorType &indices = in(s, "indices"), &params = in(s, "params");
      require(!indices.shape.empty() && params.dtype == out(s).dtype, "indices must have a dim, and the result the dtype of params");
      indexed(indices, static_cast<size_t>(indices.shape.back()), params.shape, out(s));
    });
    add({"ScatterNd"}, [](const NodeSpec& s) {
      require(in(s, "updates").dtype == out(s).dtype, "updates must have the result's dtype");
      indexed(in(s, "indices"), scatter_depth(in(s, "indices")), out(s).shape, in(s, "updates"));
    });
    add({"TensorScatterUpdate"}, [](const NodeSpec& s) {
      same_type(in(s, "tensor"), out(s));
      require(in(s, "updates").dtype == out(s).dtype, "updates must have the result's dtype");
      indexed(in(s, "indices"), scatter_depth(in(s, "indices")), out(s).shape, in(s, "updates").shape.empty() ? [&] {
        TensorType all = in(s, "updates");
        const size_t depth = scatter_depth(in(s, "indices"));
        require(depth <= out(s).shape.size(), "indices name more dims than the tensor has");
        const int64_t rows = depth == 0 ? product(in(s, "indices").shape, 0, in(s, "indices").shape.size() - 1) : in(s, "indices").numel() / static_cast<int64_t>(depth);
        all.shape = {rows * product(out(s).shape, depth, out(s).shape.size())};
        return all;
      }() : in(s, "updates"));
    });
    add({"UnsortedSegmentSum"}, [](const NodeSpec& s) {
      const TensorType& x = in(s, "x");
      require(!x.shape.empty() && s.attrs.integer("numSegments") >= 0, "x must have a dim and numSegments not be negative");
      sized(out(s), s.attrs.integer("numSegments") * product(x.shape, 1, x.shape.size()));
    });
    add({"OneHot"}, [](const NodeSpec& s) { require(s.attrs.integer("depth") >= 0, "depth must not be negative"); });
    add({"BroadcastArgs"}, [](const NodeSpec& s) { is(out(s), DType::i32); });
    add({"AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D", "MaxPoolWithArgmax"}, [](const NodeSpec& s) {
      if (s.kernel == "MaxPoolWithArgmax") same_size(out(s), out(s, 1));
      else if (s.kernel == "AvgPool" || s.kernel == "AvgPool3D") pools(s);
    });
    add({"AvgPoolGrad", "AvgPool3DGrad", "MaxPoolGrad", "MaxPool3DGrad"}, pool_gradient);
    add({"Dilation2D", "Dilation2DBackpropInput", "Dilation2DBackpropFilter"}, dilates);
    add({"ResizeBilinear", "ResizeNearestNeighbor"}, resizes);
    add({"ResizeBilinearGrad", "ResizeNearestNeighborGrad"}, resize_gradient);
    add({"CropAndResize", "Transform"}, [](const NodeSpec& s) {
      images(s, in(s, "image"), out(s));
      if (s.kernel == "Transform") same_dtype(s);
      if (s.kernel == "Transform") require(in(s, "image").shape[0] == out(s).shape[0], "the batch must not change");
    });
    add({"NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"}, selects);
    add({"SearchSorted", "LowerBound", "UpperBound"}, [](const NodeSpec& s) { same_size(in(s, "values"), out(s)); });
    add({"Bincount", "DenseBincount"}, [](const NodeSpec& s) { require(s.attrs.integer("size") >= 0, "size must not be negative"); });
    add({"Unique"}, [](const NodeSpec& s) {
      same_dtype(s);
      is(out(s, 1), DType::i32);
      is(out(s, 2), DType::i32);
    });
    add({"Diag"}, same_dtype);
    add({"FusedBatchNorm"}, [](const NodeSpec& s) {
      all_float(s);
      same_size(in(s, "x"), out(s));
    });
    add({"Einsum", "MerakColumnSum"}, [](const NodeSpec& s) { is_float(out(s)); });
    add({"MerakEmbedding"}, embeds);
    add({"MerakEmbeddingGrad"}, embeds_gradient);
    add({"MerakSoftmaxCrossEntropy", "MerakSoftmaxCrossEntropyGrad", "MerakShardedCrossEntropy"}, classifies);
    add({"MerakLayerNorm", "MerakLayerNormGrad"}, normalises);
    add({"MerakAttention"}, [](const NodeSpec& s) { attends(s, false, false); });
    add({"MerakAttentionGrad"}, [](const NodeSpec& s) { attends(s, false, true); });
    add({"MerakPackedAttention"}, [](const NodeSpec& s) { attends(s, true, false); });
    add({"MerakPackedAttentionGrad"}, [](const NodeSpec& s) { attends(s, true, true); });
    add({"MerakShard"}, shards);
    add({"MerakReduceScatter", "MerakReduceScatterStart"}, scatters);
    add({"MerakAllGather", "MerakAllGatherStart"}, gathers_shards);
    add({"MerakRandom"}, [](const NodeSpec& s) {
      for (const int64_t dim : s.attrs.ints("shape")) require(dim >= 0, "shape must not be negative");
      require(s.attrs.ints("shape") == out(s).shape || numel(s.attrs.ints("shape")) == out(s).numel(), "the result has the wrong size");
    });
    return t;
  }();
  return table;
}

}  // namespace

void check_contract(const NodeSpec& spec) {
  check_types(spec);
  check_arity(spec);
  check_narrow(spec);
  const auto rule = rules().find(spec.kernel);
  if (rule != rules().end()) rule->second(spec);
}

}  // namespace merak
