// The messages of ShmCommunicator: a ring of descriptors per sender, receiver and tag; data stays where the sender has it until taken.
#include <cstring>  // memcpy

#include "comm/control.h"  // Channel
#include "comm/futex.h"    // publish
#include "comm/shm.h"

namespace merak {

uint64_t ShmCommunicator::send(int peer, int tag, const void* data, size_t bytes) {
  Channel& channel = this->channel(rank_, peer, tag);
  uint32_t ticket = channel.posted.load(std::memory_order_relaxed) + 1;
  wait(channel.taken, channel.taken_waiters, ticket - kChannelDepth, peer, {"send", nullptr, tag});
  Address address = address_of(data, bytes);
  channel.ring[ticket % kChannelDepth] = Message{address.arena, 0, address.offset, bytes};
  publish(channel.posted, channel.posted_waiters, ticket);
  return ticket;
}

void ShmCommunicator::wait_sent(int peer, int tag, uint64_t ticket) {
  Channel& channel = this->channel(rank_, peer, tag);
  wait(channel.taken, channel.taken_waiters, static_cast<uint32_t>(ticket), peer, {"send", nullptr, tag});
}

uint32_t ShmCommunicator::taken(int peer, int tag) { return channel(rank_, peer, tag).taken.load(std::memory_order_acquire); }

size_t ShmCommunicator::next_message_bytes(int peer, int tag) {
  Channel& channel = this->channel(peer, rank_, tag);
  uint32_t ticket = channel.taken.load(std::memory_order_relaxed) + 1;
  wait(channel.posted, channel.posted_waiters, ticket, peer, {"receive", nullptr, tag});
  return channel.ring[ticket % kChannelDepth].bytes;
}

void ShmCommunicator::receive(int peer, int tag, void* data, size_t bytes) {
  Channel& channel = this->channel(peer, rank_, tag);
  uint32_t ticket = channel.taken.load(std::memory_order_relaxed) + 1;
  wait(channel.posted, channel.posted_waiters, ticket, peer, {"receive", nullptr, tag});
  const Message& message = channel.ring[ticket % kChannelDepth];
  if (message.bytes != bytes)
    throw CommError("comm/mismatch", peer,
                    "rank " + std::to_string(peer) + " sent " + std::to_string(message.bytes) + " bytes where rank " + std::to_string(rank_) +
                        " expects " + std::to_string(bytes) + " (tag " + std::to_string(tag) + ", sequence number " +
                        std::to_string(ticket) + ")");
  if (bytes) std::memcpy(data, resolve(peer, {message.arena, message.offset}, bytes), bytes);
  publish(channel.taken, channel.taken_waiters, ticket);
}

}  // namespace merak
