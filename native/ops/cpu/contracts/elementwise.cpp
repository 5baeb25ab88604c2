// Kernels whose result has the size of their input, and those that make tensors of none.
#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules
#include "ops/cpu/shape.h"             // normalise_axis

namespace merak::contracts {
namespace {

void has_axis(const NodeSpec& spec) { normalise_axis(spec.attrs.ints("axis", {0}).at(0), spec.inputs[0].shape.size()); }

}  // namespace

void add_elementwise_rules(Rules& rules) {
  rules.add({"MerakQuantise"}, keeps_size);
  rules.add({"Cumsum", "Cumprod"}, [](const NodeSpec& s) { keeps_size(s); has_axis(s); });
  rules.add({"Softmax", "LogSoftmax", "LRN", "MerakDropout", "MerakAllReduce", "MerakAllReduceStart"}, keeps_float);
  rules.add({"Reverse", "FlipLeftRight", "RotateWithOffset", "MatrixBandPart", "MerakFanOut", "MerakWait"}, keeps_type);
  rules.add({"LRNGrad"}, [](const NodeSpec& s) {
    all_float(s);
    for (const TensorType& type : s.inputs) same_size(type, out(s));
  });
  rules.add({"MerakGelu"}, [](const NodeSpec& s) { keeps_size(s); is_any_float(out(s)); });
  rules.add({"MerakGeluGrad"}, [](const NodeSpec& s) {
    same_size(in(s, "x"), in(s, "dy"));
    keeps_size(s);
    is_any_float(out(s));
  });
  rules.add({"FusedBatchNorm"}, [](const NodeSpec& s) {
    all_float(s);
    same_size(in(s, "x"), out(s));
  });
  rules.add({"Diag"}, same_dtype);
  rules.add({"OneHot"}, [](const NodeSpec& s) { require(s.attrs.integer("depth") >= 0, "depth must not be negative"); });
  rules.add({"BroadcastArgs"}, [](const NodeSpec& s) { is(out(s), DType::i32); });
  rules.add({"MerakLossScale"}, [](const NodeSpec& s) {
    is_float(out(s));
    sized(out(s), 1);
  });
  rules.add({"MerakRandom"}, [](const NodeSpec& s) {
    for (const int64_t dim : s.attrs.ints("shape")) require(dim >= 0, "shape must not be negative");
    require(s.attrs.ints("shape") == out(s).shape || numel(s.attrs.ints("shape")) == out(s).numel(), "the result has the wrong size");
  });
}

}  // namespace merak::contracts
