// Collectives and messages on memory outside arenas (JavaScript's): copied through a staging arena that the peers map.
#pragma once
#include <deque>   // messages in flight
#include <map>     // channels
#include <vector>  // results

#include "comm/shm.h"  // ShmCommunicator

namespace merak {

// One thread makes the calls; send alone may run on a second one meanwhile. Errors are those of ShmCommunicator.
class StagedCommunicator {
 public:
  using Buffer = std::vector<std::byte>;

  // `ring_bytes`: what may be under way to one peer under one tag before send waits; 0 for the default.
  StagedCommunicator(int rank, int world_size, std::vector<GroupSpec> groups, size_t ring_bytes);

  ShmCommunicator& shm() { return shm_; }
  // The arena peers must map as this rank's 'staging', beside 'control'.
  const Arena& staging() const { return *staging_; }

  void all_reduce(int group, float* data, size_t count, ReduceOp op);
  // Every rank's `bytes` bytes, in group order.
  std::vector<Buffer> all_gather(int group, const std::byte* data, size_t bytes);
  // The root's bytes to every rank of the group, in place.
  void broadcast(int group, std::byte* data, size_t bytes, int root_index);
  // Seconds per all-reduce in place, no copying: the fastest of `repeat` rounds of `times`. The rings serve as the buffer, so nothing may be
  // under way.
  double time_all_reduce(int group, size_t count, int times, int repeat);
  // Copies and posts: the receiver need not be there. Waits only when the ring is full. Any `tag`; even and odd tags travel
  // apart, as activations and gradients do.
  void send(int peer, uint32_t tag, const std::byte* data, size_t bytes);
  // The oldest message from `peer` with `tag`.
  Buffer receive(int peer, uint32_t tag);

 private:
  struct InFlight {
    uint64_t ticket;
    size_t begin, end;
  };
  // A ring of staging memory: blocks are handed out ascending and come back in the same order.
  struct Ring {
    std::byte* base = nullptr;
    size_t head = 0;
    std::deque<InFlight> in_flight;
  };

  const GroupSpec& spec(int group) const;
  // `bytes` of a channel's ring, once the receiver has taken enough.
  size_t allocate(Ring& ring, int peer, int channel, size_t bytes);
  void post(int peer, int channel, const std::byte* head, size_t head_bytes, const std::byte* data, size_t bytes);
  std::pair<uint32_t, Buffer> take(int peer, int channel);

  std::vector<GroupSpec> groups_;
  ShmCommunicator shm_;
  size_t ring_bytes_, piece_bytes_;
  std::shared_ptr<Arena> staging_;
  std::map<std::pair<int, int>, Ring> rings_;                          // of send only
  std::map<std::pair<int, uint32_t>, std::deque<Buffer>> set_aside_;  // messages that came before one asked for
};

}  // namespace merak
