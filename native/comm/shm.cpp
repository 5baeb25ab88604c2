#include "comm/shm.h"

#include <linux/futex.h>  // FUTEX_WAIT, FUTEX_WAKE
#include <signal.h>       // kill(pid, 0)
#include <sys/syscall.h>  // SYS_futex
#include <time.h>         // timespec
#include <unistd.h>       // syscall, sysconf

#include <algorithm>  // min
#include <cerrno>     // ESRCH
#include <cstring>    // memcpy
#include <utility>    // exchange

#include "comm/control.h"  // ControlBlock
#include "comm/reduce.h"   // reduce_segment

namespace merak {

namespace {

enum Kind : uint32_t { kAllReduceSum = 1, kAllReduceMax, kAllGather, kBroadcast, kBarrier };

using Clock = std::chrono::steady_clock;

uint32_t hash_name(const std::string& name) {
  uint32_t h = 2166136261u;
  for (unsigned char c : name) h = (h ^ c) * 16777619u;
  return h;
}

bool reached(uint32_t value, uint32_t target) { return static_cast<int32_t>(value - target) >= 0; }

void futex_sleep(std::atomic<uint32_t>& word, uint32_t seen, double seconds) {
  timespec limit{static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<long>(seconds)) * 1e9)};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void publish(std::atomic<uint32_t>& word, std::atomic<uint32_t>& waiters, uint32_t value) {
  word.store(value, std::memory_order_seq_cst);
  if (waiters.load(std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::string describe(const GroupSpec& spec) {
  std::string text = "group " + spec.axis + " [";
  for (size_t i = 0; i < spec.ranks.size(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(spec.ranks[i]);
  }
  return text + "]";
}

}  // namespace

ShmCommunicator::ShmCommunicator(int rank, int world_size, const std::vector<GroupSpec>& groups)
    : rank_(rank), world_size_(world_size), peers_(world_size) {
  if (world_size > kMaxRanks) throw std::runtime_error("at most " + std::to_string(kMaxRanks) + " ranks share a host");
  control_ = Arena::create("control-" + std::to_string(rank), sizeof(ControlBlock));
  for (const GroupSpec& spec : groups) {
    if (spec.id < 0 || spec.id >= kMaxGroups)
      throw std::runtime_error("group id " + std::to_string(spec.id) + " is past the limit of " + std::to_string(kMaxGroups));
    auto self = std::find(spec.ranks.begin(), spec.ranks.end(), rank);
    if (self == spec.ranks.end()) continue;
    groups_[spec.id] = Group{spec, static_cast<size_t>(self - spec.ranks.begin()), 0};
  }
  // Spinning pays only while every rank can have a core of its own; else it keeps the awaited rank from running.
  spin_ = world_size <= sysconf(_SC_NPROCESSORS_ONLN) ? 4000 : 50;
}

ShmCommunicator::~ShmCommunicator() = default;

void ShmCommunicator::add_arena(const std::string& name, std::shared_ptr<Arena> arena) {
  remove_arena(name);
  arenas_.emplace_back(hash_name(name), std::move(arena));
}

void ShmCommunicator::remove_arena(const std::string& name) {
  std::erase_if(arenas_, [h = hash_name(name)](const auto& entry) { return entry.first == h; });
}

void ShmCommunicator::add_peer_arena(int rank, const std::string& name, int pid, int fd, size_t bytes) {
  if (rank < 0 || rank >= world_size_) throw std::runtime_error("no rank " + std::to_string(rank));
  if (rank == rank_) return;
  Peer& peer = peers_[rank];
  peer.pid = pid;
  auto arena = Arena::open_peer(pid, fd, bytes);
  if (name == "control") {
    peer.control = std::move(arena);
    return;
  }
  uint32_t hash = hash_name(name);
  std::erase_if(peer.arenas, [hash](const PeerArena& entry) { return entry.name_hash == hash; });
  peer.arenas.push_back({hash, std::move(arena)});
}

ShmCommunicator::Group& ShmCommunicator::group(int id) {
  auto found = groups_.find(id);
  if (found == groups_.end())
    throw std::runtime_error("rank " + std::to_string(rank_) + " is not in group " + std::to_string(id));
  return found->second;
}

ControlBlock* ShmCommunicator::control_of(int rank) {
  const auto& arena = rank == rank_ ? control_ : peers_[rank].control;
  if (!arena) throw std::runtime_error("rank " + std::to_string(rank) + " is not connected");
  return reinterpret_cast<ControlBlock*>(arena->data());
}

ShmCommunicator::Address ShmCommunicator::address_of(const void* data) {
  for (const auto& [hash, arena] : arenas_)
    if (arena->contains(data)) return {hash, static_cast<uint64_t>(static_cast<const std::byte*>(data) - arena->data())};
  throw std::runtime_error("a collective was given memory outside every arena");
}

std::byte* ShmCommunicator::resolve(int rank, Address address) {
  if (rank == rank_) {
    for (const auto& [hash, arena] : arenas_)
      if (hash == address.arena) return arena->data() + address.offset;
  } else {
    for (const PeerArena& entry : peers_[rank].arenas)
      if (entry.name_hash == address.arena) return entry.arena->data() + address.offset;
  }
  throw std::runtime_error("rank " + std::to_string(rank) + " published memory of an arena that was never connected");
}

void ShmCommunicator::wait(std::atomic<uint32_t>& word, std::atomic<uint32_t>& waiters, uint32_t target, int peer,
                           const char* operation) {
  if (reached(word.load(std::memory_order_acquire), target)) return;
  auto begin = Clock::now();
  for (int i = 0; i < spin_; ++i) {
    relax();
    if (reached(word.load(std::memory_order_acquire), target)) {
      wait_seconds_ += std::chrono::duration<double>(Clock::now() - begin).count();
      return;
    }
  }
  auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  waiters.fetch_add(1, std::memory_order_seq_cst);
  struct Leave {
    std::atomic<uint32_t>& waiters;
    ~Leave() { waiters.fetch_sub(1, std::memory_order_seq_cst); }
  } leave{waiters};
  for (;;) {
    uint32_t seen = word.load(std::memory_order_seq_cst);
    if (reached(seen, target)) break;
    auto who = [&] { return waiting_for(operation, target, peer); };
    if (aborted_.load()) {
      std::lock_guard lock(abort_mutex_);
      throw CommError("comm/aborted", peer, who() + ": aborted: " + abort_reason_);
    }
    if (elapsed() > timeout_seconds_)
      throw CommError("comm/timeout", peer, who() + ": no answer within " + std::to_string(static_cast<int>(timeout_seconds_)) + " s");
    // A signal to the sleeper is not needed for aborts: it looks up at least every tenth of a second.
    futex_sleep(word, seen, std::min(0.1, timeout_seconds_));
    if (!reached(word.load(std::memory_order_acquire), target) && peer != rank_ && peers_[peer].pid > 0 &&
        kill(peers_[peer].pid, 0) != 0 && errno == ESRCH)
      throw CommError("comm/peer-lost", peer, who() + ": its process " + std::to_string(peers_[peer].pid) + " has ended");
  }
  wait_seconds_ += elapsed();
}

std::string ShmCommunicator::waiting_for(const char* operation, uint32_t target, int peer) const {
  std::string where = waiting_group_ ? "of " + describe(waiting_group_->spec) : "with tag " + std::to_string(waiting_tag_);
  return "rank " + std::to_string(rank_) + " waits for rank " + std::to_string(peer) + " in " + operation + " " + where + ", sequence number " +
         std::to_string(target);
}

void ShmCommunicator::arrive(Group& g, uint32_t kind, Address address, uint64_t bytes) {
  GroupSlot& slot = control_of(rank_)->groups[g.spec.id];
  slot.offers[g.sequence & 1] = Offer{kind, address.arena, address.offset, bytes};
  publish(slot.arrived, slot.arrive_waiters, g.sequence);
}

const Offer& ShmCommunicator::await_arrival(Group& g, size_t index, uint32_t kind, uint64_t bytes, const char* operation) {
  int peer = g.spec.ranks[index];
  GroupSlot& slot = control_of(peer)->groups[g.spec.id];
  wait(slot.arrived, slot.arrive_waiters, g.sequence, peer, operation);
  const Offer& offer = slot.offers[g.sequence & 1];
  if (offer.kind != kind || offer.bytes != bytes)
    throw CommError("comm/aborted", peer,
                    "rank " + std::to_string(peer) + " joined " + describe(g.spec) + " #" + std::to_string(g.sequence) + " with kind " +
                        std::to_string(offer.kind) + ", " + std::to_string(offer.bytes) + " bytes where rank " + std::to_string(rank_) +
                        " has kind " + std::to_string(kind) + ", " + std::to_string(bytes) + " bytes");
  return offer;
}

// Nobody may touch its buffer again before every peer is through with it.
void ShmCommunicator::finish(Group& g, const char* operation) {
  GroupSlot& own = control_of(rank_)->groups[g.spec.id];
  publish(own.done, own.done_waiters, g.sequence);
  for (size_t i = 0; i < g.spec.ranks.size(); ++i) {
    if (i == g.index) continue;
    GroupSlot& slot = control_of(g.spec.ranks[i])->groups[g.spec.id];
    wait(slot.done, slot.done_waiters, g.sequence, g.spec.ranks[i], operation);
  }
}

// Puts a small payload in the control block and waits for everybody's. False when it is too large for that.
bool ShmCommunicator::exchange_small(Group& g, uint32_t kind, const void* data, size_t bytes, const char* operation) {
  if (bytes > kInlineBytes) return false;
  GroupSlot& own = control_of(rank_)->groups[g.spec.id];
  std::memcpy(own.inline_data[g.sequence & 1], data, bytes);
  // `done` keeps step, so that a later large call in this group starts from the same count.
  own.done.store(g.sequence, std::memory_order_relaxed);
  arrive(g, kind, {}, bytes);
  for (size_t i = 0; i < g.spec.ranks.size(); ++i)
    if (i != g.index) await_arrival(g, i, kind, bytes, operation);
  return true;
}

void ShmCommunicator::all_reduce(int id, float* data, size_t count, ReduceOp op, float scale) {
  Group& g = group(id);
  size_t n = g.spec.ranks.size();
  if (n == 1 || count == 0) {
    if (op == ReduceOp::sum && scale != 1.0f) scale_in_place(data, count, scale);
    return;
  }
  ++g.sequence;
  waiting_group_ = &g;
  uint32_t kind = op == ReduceOp::sum ? kAllReduceSum : kAllReduceMax;
  uint64_t bytes = count * sizeof(float);
  std::vector<float*> buffers(n);
  if (exchange_small(g, kind, data, bytes, "all-reduce")) {
    for (size_t i = 0; i < n; ++i)
      buffers[i] = reinterpret_cast<float*>(control_of(g.spec.ranks[i])->groups[id].inline_data[g.sequence & 1]);
    reduce_into(data, buffers.data(), n, count, op == ReduceOp::sum, scale);
    return;
  }
  arrive(g, kind, address_of(data), bytes);
  for (size_t i = 0; i < n; ++i) {
    if (i == g.index) {
      buffers[i] = data;
      continue;
    }
    const Offer& offer = await_arrival(g, i, kind, bytes, "all-reduce");
    buffers[i] = reinterpret_cast<float*>(resolve(g.spec.ranks[i], {offer.arena, offer.offset}));
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
  Group& g = group(id);
  size_t n = g.spec.ranks.size();
  auto* out = static_cast<std::byte*>(output);
  if (n == 1) {
    std::memcpy(out, input, bytes);
    return;
  }
  ++g.sequence;
  waiting_group_ = &g;
  if (exchange_small(g, kAllGather, input, bytes, "all-gather")) {
    for (size_t i = 0; i < n; ++i)
      std::memcpy(out + i * bytes, control_of(g.spec.ranks[i])->groups[id].inline_data[g.sequence & 1], bytes);
    return;
  }
  arrive(g, kAllGather, address_of(input), bytes);
  for (size_t k = 0; k < n; ++k) {
    size_t i = (g.index + k) % n;
    if (i == g.index) {
      std::memcpy(out + i * bytes, input, bytes);
      continue;
    }
    const Offer& offer = await_arrival(g, i, kAllGather, bytes, "all-gather");
    std::memcpy(out + i * bytes, resolve(g.spec.ranks[i], {offer.arena, offer.offset}), bytes);
  }
  finish(g, "all-gather");
}

void ShmCommunicator::broadcast(int id, void* data, size_t bytes, int root_index) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1) return;
  ++g.sequence;
  waiting_group_ = &g;
  size_t root = static_cast<size_t>(root_index);
  // Every rank arrives, so that the sequence numbers of the group stay in step.
  arrive(g, kBroadcast, g.index == root ? address_of(data) : Address{}, bytes);
  if (g.index != root) {
    const Offer& offer = await_arrival(g, root, kBroadcast, bytes, "broadcast");
    std::memcpy(data, resolve(g.spec.ranks[root], {offer.arena, offer.offset}), bytes);
  }
  finish(g, "broadcast");
}

void ShmCommunicator::barrier(int id) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1) return;
  ++g.sequence;
  waiting_group_ = &g;
  uint32_t nothing = 0;
  exchange_small(g, kBarrier, &nothing, sizeof nothing, "barrier");
}

uint64_t ShmCommunicator::send(int peer, int tag, const void* data, size_t bytes) {
  Channel& channel = control_of(rank_)->channels[peer][tag];
  uint32_t ticket = channel.posted.load(std::memory_order_relaxed) + 1;
  waiting_group_ = nullptr;
  waiting_tag_ = tag;
  wait(channel.taken, channel.taken_waiters, ticket - kChannelDepth, peer, "send");
  Address address = address_of(data);
  channel.ring[ticket % kChannelDepth] = Message{address.arena, 0, address.offset, bytes};
  publish(channel.posted, channel.posted_waiters, ticket);
  return ticket;
}

void ShmCommunicator::wait_sent(int peer, int tag, uint64_t ticket) {
  Channel& channel = control_of(rank_)->channels[peer][tag];
  waiting_group_ = nullptr;
  waiting_tag_ = tag;
  wait(channel.taken, channel.taken_waiters, static_cast<uint32_t>(ticket), peer, "send");
}

void ShmCommunicator::receive(int peer, int tag, void* data, size_t bytes) {
  Channel& channel = control_of(peer)->channels[rank_][tag];
  uint32_t ticket = channel.taken.load(std::memory_order_relaxed) + 1;
  waiting_group_ = nullptr;
  waiting_tag_ = tag;
  wait(channel.posted, channel.posted_waiters, ticket, peer, "receive");
  const Message& message = channel.ring[ticket % kChannelDepth];
  if (message.bytes != bytes)
    throw CommError("comm/aborted", peer,
                    "rank " + std::to_string(peer) + " sent " + std::to_string(message.bytes) + " bytes where rank " +
                        std::to_string(rank_) + " expects " + std::to_string(bytes) + " (tag " + std::to_string(tag) + " #" + std::to_string(ticket) + ")");
  std::memcpy(data, resolve(peer, {message.arena, message.offset}), bytes);
  publish(channel.taken, channel.taken_waiters, ticket);
}

void ShmCommunicator::abort(const std::string& reason) {
  {
    std::lock_guard lock(abort_mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
  }
  aborted_.store(true);
}

double ShmCommunicator::take_wait_seconds() { return std::exchange(wait_seconds_, 0.0); }

}  // namespace merak
