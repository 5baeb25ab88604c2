// Where a product keeps its packed right operand: in the scratch of each run, or, for a weight that stays the same over many runs, in
// memory of its own, packed once per step. Kernels of one executable share it.
#pragma once
#include "engine/kept_weights.h"  // PackedWeight
#include "engine/kernel.h"        // RunContext, NodeSpec

namespace merak {

class KeptWeight {
 public:
  KeptWeight() = default;
  // Whether a product of `num_rows` rows keeps its weight. Many rows pay for the packing themselves.
  static bool stays(const NodeSpec& spec, int64_t num_rows) { return spec.attrs.flag("weightStays", false) && num_rows <= kMostRows; }

  // `bytes`, packed as `layout` names it: with the weight's shape every bit of how it is packed.
  KeptWeight(const NodeSpec& spec, size_t bytes, int64_t num_rows, const std::string& layout) {
    if (!stays(spec, num_rows)) return;
    std::string key = layout;
    for (const int64_t size : spec.inputs.at(1).shape) key += ' ' + std::to_string(size);
    weight_ = spec.kept ? spec.kept->at(spec.parameter_at.at(1), key) : std::make_shared<PackedWeight>();
    if (weight_->bytes == 0) bytes_ = weight_->bytes = bytes;
  }
  bool stays() const { return weight_ != nullptr; }
  // What others do not keep already.
  size_t bytes() const { return bytes_; }
  void prepare() {
    if (weight_ && !weight_->memory) weight_->memory = aligned_bytes(weight_->bytes);
  }
  // The packed weight, packing it by `pack(memory)` unless that was done in this step. `scratch` serves when it does not stay.
  template <class Pack>
  void* get(const RunContext& context, void* scratch, const Pack& pack) {
    if (!weight_) {
      pack(scratch);
      return scratch;
    }
    prepare();  // a kernel run by itself has no engine to see to it
    if (weight_->packed_in != context.run || context.run == 0) pack(weight_->memory.get());
    weight_->packed_in = context.run;
    return weight_->memory.get();
  }

 private:
  static constexpr int64_t kMostRows = 1024;
  std::shared_ptr<PackedWeight> weight_;
  size_t bytes_ = 0;
};

}  // namespace merak
