// Weights in 16 bits beside the float32 ones. A product that rounds its operands reads a copy that was rounded once since the weight changed,
// the same one for all products of all executables of an engine. The update writes it while it has the new value at hand (ops/cuda/optimizer.h);
// whatever else changes weights leaves the copies stale, and the next step begins by rounding all of them in one launch.
#pragma once
#include <map>     // by place
#include <memory>  // shared copies
#include <optional>  // type

#include "cuda/memory.h"     // Memory
#include "engine/program.h"  // RankPlan

namespace merak::cuda {

// The copy of `count` floats.
struct RoundedWeight {
  int64_t count = 0;
  DType type = DType::bf16;
  Memory memory;  // from RoundedWeights::settle on
};

class RoundedWeights {
 public:
  // Null where MERAK_ROUNDED_WEIGHTS=off asks for rounding at each use. `device` null: for planning, where no memory is taken.
  static std::shared_ptr<RoundedWeights> make(std::shared_ptr<Device> device);

  // The copy of the `count` floats at byte `offset` of the parameters, while somebody holds it. Null where it would lie over part of another, or
  // others are of another type: who asked rounds at each use.
  std::shared_ptr<RoundedWeight> at(int64_t offset, int64_t count, DType type);
  // By place among the parameters: what each takes on the card, its share of the table of pieces included.
  std::map<int64_t, size_t> bytes() const;

  // Between steps: takes memory for copies that are new, lets go of those that only this holds. Whether any came or went; all are stale then.
  bool settle(const RankPlan& plan, std::byte* persistent);
  // Where the copy of `count` floats from byte `offset` of the parameters on lies; null where they are not all of one copy.
  std::byte* copy_of(int64_t offset, int64_t count) const;
  // Of all copies; nothing where there are none.
  std::optional<DType> type() const;

  // Rounds all weights, unless that was done in this state of the parameters (RunContext::run).
  void bring_up(uint64_t state, CUstream stream);
  // A step changes parameters from the state that was brought up to `state`, by updates alone: they write the copies too.
  void follow(uint64_t state) {
    if (is_followed_) state_ = state;
  }

 private:
  explicit RoundedWeights(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  std::shared_ptr<Device> device_;
  std::map<int64_t, std::shared_ptr<RoundedWeight>> weights_;
  Memory table_;
  size_t num_pieces_ = 0;
  CUfunction round_ = nullptr;
  bool is_followed_ = false;  // each copy is that of a whole parameter, which is what updates go by
  uint64_t state_ = 0;        // of the parameters that the copies were made from; 0: none
};

}  // namespace merak::cuda
