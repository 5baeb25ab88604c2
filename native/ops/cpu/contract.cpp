// The contracts of contract.h: first what holds for every kernel, then the rule of its family (contracts/).
#include "ops/cpu/contract.h"

#include <algorithm>      // max
#include <set>            // kernel families
#include <unordered_map>  // numbers of outputs

#include "ops/cpu/contracts/checks.h"  // kMaxBytes
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/make_kernel.h"       // require

namespace merak {
namespace {

constexpr size_t kMaxRank = 8;

// Sizes that are negative or overflow, names without a tensor.
void check_types(const NodeSpec& spec) {
  if (spec.input_names.size() > spec.inputs.size()) throw std::runtime_error("a node has more input names than inputs");
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) {
      if (type.dtype > DType::f16) throw std::runtime_error("a tensor has an unknown dtype");
      if (type.shape.size() > kMaxRank) throw std::runtime_error("a tensor has more than " + std::to_string(kMaxRank) + " dims");
      double bytes = static_cast<double>(size_of(type.dtype));
      for (const int64_t dim : type.shape) {
        if (dim < 0) throw std::runtime_error("a tensor has a negative dim");
        // Zeros count as ones, so that the sizes of parts cannot overflow either.
        bytes *= static_cast<double>(std::max<int64_t>(1, dim));
      }
      if (!(bytes <= contracts::kMaxBytes)) throw std::runtime_error("a tensor is larger than any memory");
    }
}

// Where bfloat16, float16 or int8 may stand; all others read and write float32, int32 and bool.
const std::set<std::string> kTakesNarrow = {
    "BatchMatMul", "_FusedMatMul", "MerakProduct", "MerakQuantise", "MerakQuantisedMatMul", "MerakColumnSum", "MerakGelu", "MerakGeluGrad", "MerakLayerNorm", "MerakLayerNormGrad", "MerakAttention",
    "MerakAttentionGrad", "MerakPackedAttention", "MerakPackedAttentionGrad", "MerakAssign", "MerakFanOut",
    "Identity", "Reshape", "ExpandDims", "Squeeze"};
const std::set<std::string> kHasNoInput = {"Fill", "Range", "LinSpace", "MerakLossScale", "MerakRandom"};
const std::unordered_map<std::string, size_t> kNumOutputs = {
    {"MaxPoolWithArgmax", 2}, {"MerakBatchNorm", 3}, {"MerakAttention", 2}, {"MerakAttentionGrad", 3}, {"MerakLayerNorm", 3}, {"MerakLayerNormGrad", 3},
    {"MerakPackedAttention", 2}, {"MerakShardedCrossEntropy", 2}, {"MerakSoftmaxCrossEntropy", 2}, {"NonMaxSuppressionV3", 2},
    {"NonMaxSuppressionV4", 2}, {"NonMaxSuppressionV5", 3}, {"TopK", 2}, {"Unique", 3}};

void check_arity(const NodeSpec& spec) {
  require(kHasNoInput.contains(spec.kernel) || !spec.inputs.empty(), "an input is missing");
  const bool is_product = spec.kernel == "BatchMatMul" || spec.kernel == "_FusedMatMul" || spec.kernel == "MerakProduct";
  if (is_product) return require(!spec.outputs.empty() && spec.outputs.size() <= 2, "the number of outputs is wrong");
  if (spec.kernel == "SplitV" || spec.kernel == "Unpack") return require(!spec.outputs.empty(), "an output is missing");
  if (spec.kernel == "MerakBatchNormGrad")
    return require(spec.outputs.size() == (spec.attrs.flag("residual", false) ? 4 : 3), "the number of outputs is wrong");
  const auto found = kNumOutputs.find(spec.kernel);
  require(spec.outputs.size() == (found == kNumOutputs.end() ? 1 : found->second), "the number of outputs is wrong");
}

void check_narrow(const NodeSpec& spec) {
  if (kTakesNarrow.contains(spec.kernel)) return;
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) require(!is_half(type.dtype) && type.dtype != DType::i8, "the kernel takes no 16-bit floats and no int8");
}

const contracts::Rules& rules() {
  static const contracts::Rules table = [] {
    contracts::Rules made;
    contracts::add_product_rules(made);
    contracts::add_elementwise_rules(made);
    contracts::add_reduction_rules(made);
    contracts::add_movement_rules(made);
    contracts::add_indexing_rules(made);
    contracts::add_image_rules(made);
    contracts::add_fused_rules(made);
    contracts::add_collective_rules(made);
    return made;
  }();
  return table;
}

}  // namespace

void check_contract(const NodeSpec& spec) {
  check_types(spec);
  check_arity(spec);
  check_narrow(spec);
  if (const contracts::Rule* rule = rules().find(spec.kernel)) (*rule)(spec);
}

}  // namespace merak
