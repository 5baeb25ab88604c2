// The collectives of ShmCommunicator: everybody arrives, takes what it needs out of its peers' memory, and waits until all have.
#include <algorithm>  // min
#include <cstring>    // memcpy

#include "comm/control.h"  // ControlBlock
#include "comm/futex.h"    // publish
#include "comm/reduce.h"   // reduce_into, reduce_to_all
#include "comm/shm.h"

namespace merak {
namespace {

enum Kind : uint32_t { kAllReduceSum = 1, kAllReduceMax, kAllGather, kBroadcast, kBarrier, kReduceScatter };

const char* name_of(uint32_t kind) {
  switch (kind) {
    case kAllReduceSum: return "all-reduce sum";
    case kAllReduceMax: return "all-reduce max";
    case kAllGather: return "all-gather";
    case kBroadcast: return "broadcast";
    case kReduceScatter: return "reduce-scatter";
    default: return "barrier";
  }
}

}  // namespace

void ShmCommunicator::arrive(Group& g, uint32_t kind, Address address, uint64_t bytes) {
  GroupSlot& slot = control_of(rank_)->groups[g.spec.id];
  slot.offers[g.sequence & 1] = Offer{kind, address.arena, address.offset, bytes};
  publish(slot.arrived, slot.arrive_waiters, g.sequence);
}

const Offer& ShmCommunicator::await_arrival(Group& g, size_t index, uint32_t kind, uint64_t bytes, const char* operation) {
  int peer = g.spec.ranks[index];
  GroupSlot& slot = control_of(peer)->groups[g.spec.id];
  wait(slot.arrived, slot.arrive_waiters, g.sequence, peer, {operation, &g});
  const Offer& offer = slot.offers[g.sequence & 1];
  if (offer.kind != kind || offer.bytes != bytes)
    throw CommError("comm/mismatch", peer,
                    "ranks disagree about sequence number " + std::to_string(g.sequence) + " of " + describe_group(g.spec) + ": rank " +
                        std::to_string(peer) + " has " + name_of(offer.kind) + " of " + std::to_string(offer.bytes) + " bytes, rank " +
                        std::to_string(rank_) + " has " + name_of(kind) + " of " + std::to_string(bytes) + " bytes");
  return offer;
}

// Nobody may touch its buffer again before every peer is through with it.
void ShmCommunicator::finish(Group& g, const char* operation) {
  GroupSlot& own = control_of(rank_)->groups[g.spec.id];
  publish(own.done, own.done_waiters, g.sequence);
  for (size_t i = 0; i < g.spec.ranks.size(); ++i) {
    if (i == g.index) continue;
    GroupSlot& slot = control_of(g.spec.ranks[i])->groups[g.spec.id];
    wait(slot.done, slot.done_waiters, g.sequence, g.spec.ranks[i], {operation, &g});
  }
}

// Puts a small payload in the control block and waits for everybody's. False when it is too large for that.
bool ShmCommunicator::exchange_small(Group& g, uint32_t kind, const void* data, size_t bytes, const char* operation) {
  if (bytes > kInlineBytes) return false;
  GroupSlot& own = control_of(rank_)->groups[g.spec.id];
  if (bytes) std::memcpy(own.inline_data[g.sequence & 1], data, bytes);
  // `done` keeps step, so that a later large call in this group starts from the same count. Release: a peer still in the
  // last large call may see this value in place of that call's own.
  own.done.store(g.sequence, std::memory_order_release);
  arrive(g, kind, {}, bytes);
  for (size_t i = 0; i < g.spec.ranks.size(); ++i)
    if (i != g.index) await_arrival(g, i, kind, bytes, operation);
  return true;
}

void ShmCommunicator::all_reduce(int id, float* data, size_t count, ReduceOp op, float scale) {
  Group& g = group(id);
  size_t n = g.spec.ranks.size();
  if (n == 1) {
    if (op == ReduceOp::sum && scale != 1.0f) scale_in_place(data, count, scale);
    return;
  }
  ++g.sequence;
  uint32_t kind = op == ReduceOp::sum ? kAllReduceSum : kAllReduceMax;
  uint64_t bytes = count * sizeof(float);
  std::vector<float*> buffers(n);
  if (exchange_small(g, kind, data, bytes, "all-reduce")) {
    for (size_t i = 0; i < n; ++i)
      buffers[i] = reinterpret_cast<float*>(control_of(g.spec.ranks[i])->groups[id].inline_data[g.sequence & 1]);
    reduce_into(data, buffers.data(), n, count, op == ReduceOp::sum, scale);
    return;
  }
  arrive(g, kind, address_of(data, bytes), bytes);
  for (size_t i = 0; i < n; ++i) {
    if (i == g.index) {
      buffers[i] = data;
      continue;
    }
    const Offer& offer = await_arrival(g, i, kind, bytes, "all-reduce");
    buffers[i] = reinterpret_cast<float*>(resolve(g.spec.ranks[i], {offer.arena, offer.offset}, bytes));
  }
  // Rank i reduces the i-th segment of everybody's buffer and writes it back to everybody: nobody else touches it.
  constexpr size_t kAlign = 16;
  size_t per_rank = ((count + n - 1) / n + kAlign - 1) / kAlign * kAlign;
  size_t begin = std::min(count, g.index * per_rank);
  size_t end = std::min(count, begin + per_rank);
  for (size_t i = 0; i < n; ++i) buffers[i] += begin;
  reduce_to_all(buffers.data(), n, end - begin, op == ReduceOp::sum, scale);
  finish(g, "all-reduce");
}

void ShmCommunicator::all_gather(int id, const void* input, void* output, size_t bytes) {
  all_gather_into(id, input, output, 1, bytes);
}

void ShmCommunicator::all_gather_into(int id, const void* input, void* output, size_t outer, size_t chunk) {
  Group& g = group(id);
  size_t n = g.spec.ranks.size(), bytes = outer * chunk;
  // Rank i's chunks into their places. Its own piece may lie there already.
  auto place = [&](size_t i, const void* from) {
    auto* out = static_cast<std::byte*>(output) + i * chunk;
    const auto* in = static_cast<const std::byte*>(from);
    for (size_t o = 0; o < outer; ++o)
      if (out + o * n * chunk != in + o * chunk) std::memcpy(out + o * n * chunk, in + o * chunk, chunk);
  };
  if (n == 1) return place(0, input);
  ++g.sequence;
  if (exchange_small(g, kAllGather, input, bytes, "all-gather")) {
    for (size_t i = 0; i < n; ++i) place(i, control_of(g.spec.ranks[i])->groups[id].inline_data[g.sequence & 1]);
    return;
  }
  arrive(g, kAllGather, address_of(input, bytes), bytes);
  for (size_t k = 0; k < n; ++k) {
    size_t i = (g.index + k) % n;
    if (i == g.index) {
      place(i, input);
      continue;
    }
    const Offer& offer = await_arrival(g, i, kAllGather, bytes, "all-gather");
    place(i, resolve(g.spec.ranks[i], {offer.arena, offer.offset}, bytes));
  }
  finish(g, "all-gather");
}

void ShmCommunicator::reduce_scatter(int id, const float* input, float* output, size_t outer, size_t chunk, float scale) {
  Group& g = group(id);
  size_t n = g.spec.ranks.size(), count = outer * n * chunk, bytes = count * sizeof(float);
  std::vector<float*> buffers(n), pieces(n);
  auto reduce = [&] {
    for (size_t o = 0; o < outer; ++o) {
      for (size_t i = 0; i < n; ++i) pieces[i] = buffers[i] + (o * n + g.index) * chunk;
      reduce_into(output + o * chunk, pieces.data(), n, chunk, true, scale);
    }
  };
  buffers[g.index] = const_cast<float*>(input);
  if (n == 1) return reduce();
  ++g.sequence;
  if (exchange_small(g, kReduceScatter, input, bytes, "reduce-scatter")) {
    for (size_t i = 0; i < n; ++i)
      buffers[i] = reinterpret_cast<float*>(control_of(g.spec.ranks[i])->groups[id].inline_data[g.sequence & 1]);
    return reduce();
  }
  arrive(g, kReduceScatter, address_of(input, bytes), bytes);
  for (size_t i = 0; i < n; ++i) {
    if (i == g.index) continue;
    const Offer& offer = await_arrival(g, i, kReduceScatter, bytes, "reduce-scatter");
    buffers[i] = reinterpret_cast<float*>(resolve(g.spec.ranks[i], {offer.arena, offer.offset}, bytes));
  }
  reduce();
  finish(g, "reduce-scatter");
}

void ShmCommunicator::broadcast(int id, void* data, size_t bytes, int root_index) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1) return;
  ++g.sequence;
  size_t root = static_cast<size_t>(root_index);
  // Every rank arrives, so that the sequence numbers of the group stay in step.
  arrive(g, kBroadcast, g.index == root ? address_of(data, bytes) : Address{}, bytes);
  if (g.index != root) {
    const Offer& offer = await_arrival(g, root, kBroadcast, bytes, "broadcast");
    std::memcpy(data, resolve(g.spec.ranks[root], {offer.arena, offer.offset}, bytes), bytes);
  } else {
    for (size_t i = 0; i < g.spec.ranks.size(); ++i)
      if (i != root) await_arrival(g, i, kBroadcast, bytes, "broadcast");
  }
  finish(g, "broadcast");
}

void ShmCommunicator::barrier(int id) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1) return;
  ++g.sequence;
  uint32_t nothing = 0;
  exchange_small(g, kBarrier, &nothing, sizeof nothing, "barrier");
}

}  // namespace merak
