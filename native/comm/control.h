// The control block each rank shares with its peers: what it has published in each group and on each channel.
#pragma once
#include <atomic>   // futex words
#include <cstddef>  // std::byte
#include <cstdint>  // fixed-width integers

namespace merak {

constexpr int kMaxGroups = 512;
constexpr int kMaxRanks = 256;
constexpr int kNumTags = 4;
constexpr size_t kInlineBytes = 4096;   // messages up to this size travel inside the control block: one barrier, not two
constexpr uint32_t kChannelDepth = 32;  // messages posted and not yet taken

// What a rank brings to one call.
struct Offer {
  uint32_t kind;
  uint32_t arena;
  uint64_t offset;
  uint64_t bytes;
};

// One rank's side of a group. Offers and inline data are double-buffered by sequence parity: a rank is at most one call
// ahead of a peer that still reads.
struct GroupSlot {
  alignas(64) std::atomic<uint32_t> arrived;
  std::atomic<uint32_t> arrive_waiters;
  Offer offers[2];
  alignas(64) std::atomic<uint32_t> done;
  std::atomic<uint32_t> done_waiters;
  alignas(64) std::byte inline_data[2][kInlineBytes];
};

struct Message {
  uint32_t arena;
  uint32_t unused;
  uint64_t offset;
  uint64_t bytes;
};

// Messages from the owner of the block to one peer under one tag. The receiver writes `taken`.
struct Channel {
  alignas(64) std::atomic<uint32_t> posted;
  std::atomic<uint32_t> posted_waiters;
  alignas(64) std::atomic<uint32_t> taken;
  std::atomic<uint32_t> taken_waiters;
  alignas(64) Message ring[kChannelDepth];
};

// Sparse: only the pages of the groups and channels in use are ever touched.
struct ControlBlock {
  GroupSlot groups[kMaxGroups];
  Channel channels[kMaxRanks][kNumTags];
};

}  // namespace merak
