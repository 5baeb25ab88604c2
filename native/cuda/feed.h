// Batches of training steps on a card: copied to it on a stream of their own while the step before runs.
#pragma once
#include "cuda/memory.h"     // Memory
#include "cuda/stream.h"     // Stream, Event
#include "engine/feed.h"     // Feed
#include "engine/program.h"  // Executable

namespace merak::cuda {

// What an executable's feed takes on the card: twice its batch where it updates parameters, nothing where it has none.
size_t feed_bytes(const Executable& plan);

// The batch of the running step lies where its graph reads it; the next one beside it. A step begins with a copy from there, on the card.
class CudaFeed : public Feed {
 public:
  // Null where the executable has none: its batches come from pinned memory, which its graph reads.
  static std::unique_ptr<CudaFeed> make(std::shared_ptr<Device> device, CUstream stream, const Executable& plan);
  ~CudaFeed() override;
  std::vector<const uint8_t*> bring(uint64_t ticket, const std::vector<const uint8_t*>& fields) override;
  void bring_ahead(uint64_t ticket, const std::vector<const uint8_t*>& fields) override;
  size_t bytes() const override { return 2 * current_.bytes; }

 private:
  CudaFeed(std::shared_ptr<Device> device, CUstream stream, const Executable& plan);
  // Fields side by side in pinned memory that no copy reads any more.
  const std::byte* pinned(const std::vector<const uint8_t*>& fields);

  std::shared_ptr<Device> device_;
  CUstream stream_;  // of steps
  std::vector<size_t> sizes_;
  Memory current_, next_;
  Memory pinned_[2];  // in turn: a step later, the copy out of the other one is over
  int turn_ = 0;
  Stream ahead_stream_;
  Event arrived_, taken_;    // of what lies in `next_`
  uint64_t ahead_ = 0;       // the ticket of that; 0: there is room
};

}  // namespace merak::cuda
