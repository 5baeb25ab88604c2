// Where a product keeps its packed right operand: in the scratch of each run, or, for a weight that stays the same over many runs, in
// memory of its own, packed once per step.
#pragma once
#include "engine/aligned.h"  // aligned_bytes
#include "engine/kernel.h"   // RunContext, NodeSpec

namespace merak {

class KeptWeight {
 public:
  KeptWeight() = default;
  // `bytes` packed for a product of `num_rows` rows. Many rows pay for the packing themselves.
  KeptWeight(const NodeSpec& spec, size_t bytes, int64_t num_rows) {
    if (spec.attrs.flag("weightStays", false) && num_rows <= kMostRows) {
      bytes_ = bytes;
    }
  }
  bool stays() const { return bytes_ > 0; }
  size_t bytes() const { return bytes_; }
  // Takes the memory: apart from the constructor, so that a plan can be asked what it needs without taking it.
  void prepare() {
    if (bytes_ > 0 && !memory_) memory_ = aligned_bytes(bytes_);
  }
  // The packed weight, packing it by `pack(memory)` unless that was done in this step. `scratch` serves when it does not stay.
  template <class Pack>
  void* get(const RunContext& context, void* scratch, const Pack& pack) {
    if (!stays()) {
      pack(scratch);
      return scratch;
    }
    prepare();  // a kernel run by itself has no engine to see to it
    if (packed_in_ != context.run || context.run == 0) pack(memory_.get());
    packed_in_ = context.run;
    return memory_.get();
  }

 private:
  static constexpr int64_t kMostRows = 1024;
  AlignedBytes memory_;
  size_t bytes_ = 0;
  uint64_t packed_in_ = 0;
};

}  // namespace merak
