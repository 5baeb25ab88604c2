// Which random numbers a node's local piece draws: docs/kernels.md, "Random numbers".
#pragma once
#include <algorithm>  // min

#include "engine/kernel.h"       // NodeSpec
#include "ops/cpu/isa/philox.h"  // RandomStream

namespace merak {

// The local piece as runs of consecutive global indices.
class RandomRegion {
 public:
  // `shape` is the node's local shape; attributes node, globalShape, offsets, batchDim.
  RandomRegion(const NodeSpec& spec, const Shape& shape);
  RandomStream stream(const RunContext& context) const { return {context.seed, context.step, node_}; }
  int64_t num_runs() const { return num_runs_; }
  int64_t run_length() const { return run_length_; }
  // Global index at which local run `run` starts in this micro-batch.
  uint64_t run_start(int64_t run, const RunContext& context) const;
  int64_t numel() const { return num_runs_ * run_length_; }
  // Merged dims, for devices that work out run_start themselves.
  const Shape& shape() const { return shape_; }
  const Shape& global() const { return global_; }
  const Shape& offsets() const { return offsets_; }
  int64_t batch_dim() const { return batch_dim_ < 0 ? -1 : std::min<int64_t>(batch_dim_, static_cast<int64_t>(shape_.size()) - 1); }
  // How far dim batch_dim() moves on from one micro-batch to the next.
  int64_t batch_step() const { return batch_dim_ == batch_dim() ? batch_extent_ : shape_.back(); }
  uint32_t node() const { return node_; }

 private:
  Shape shape_, global_, offsets_;  // trailing dims that are whole are merged into one
  int64_t batch_dim_;
  int64_t batch_extent_ = 0;  // of a whole micro-batch along batch_dim_, in merged units
  uint32_t node_;
  int64_t num_runs_ = 1, run_length_ = 1;
};

// Calls body(first local element, its word, count, position) over all of a region in pieces, in parallel. The first element is at
// `position` (0 to 3) of its block of four words; the rest of the first and the last block is there beside the words asked for.
void for_each_words(const RandomRegion& region, const RunContext& context,
                    void (*body)(void*, int64_t, const uint32_t*, int64_t, int64_t), void* data);

template <class Body>
void for_each_words(const RandomRegion& region, const RunContext& context, const Body& body) {
  for_each_words(
      region, context,
      [](void* data, int64_t first, const uint32_t* words, int64_t count, int64_t position) {
        (*static_cast<const Body*>(data))(first, words, count, position);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace merak
