#include "comm/shm.h"

#include <linux/futex.h>  // FUTEX_WAIT, FUTEX_WAKE
#include <poll.h>         // poll of a pidfd
#include <signal.h>       // kill(pid, 0)
#include <sys/syscall.h>  // SYS_futex
#include <time.h>         // timespec
#include <unistd.h>       // syscall, sysconf, close

#include <algorithm>  // min
#include <cerrno>     // ESRCH
#include <cstdio>     // snprintf
#include <cstring>    // memcpy

#include "comm/control.h"  // ControlBlock
#include "comm/reduce.h"   // reduce_into, reduce_to_all

namespace merak {

namespace {

enum Kind : uint32_t { kAllReduceSum = 1, kAllReduceMax, kAllGather, kBroadcast, kBarrier, kReduceScatter };

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

std::string in_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", seconds);
  return text;
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

ShmCommunicator::~ShmCommunicator() {
  for (const Peer& peer : peers_)
    if (peer.process >= 0) close(peer.process);
}

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
  auto arena = Arena::open_peer(pid, fd, bytes);
  if (name == "control" && bytes < sizeof(ControlBlock)) throw std::runtime_error("the control block of rank " + std::to_string(rank) + " is too small");
  if (peer.pid != pid) {
    if (peer.process >= 0) close(peer.process);
    peer.pid = pid;
    peer.process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));  // -1 before Linux 5.3: see has_ended
  }
  add_peer_arena(rank, name, std::move(arena));
}

void ShmCommunicator::add_peer_arena(int rank, const std::string& name, std::shared_ptr<Arena> arena) {
  if (rank < 0 || rank >= world_size_) throw std::runtime_error("no rank " + std::to_string(rank));
  if (rank == rank_) return;
  Peer& peer = peers_[rank];
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
  if (!arena) throw CommError("comm/peer-lost", rank, "rank " + std::to_string(rank) + " was never connected");
  return reinterpret_cast<ControlBlock*>(arena->data());
}

Channel& ShmCommunicator::channel(int from, int to, int tag) {
  int peer = from == rank_ ? to : from;
  if (peer < 0 || peer >= world_size_ || peer == rank_) throw std::runtime_error("no peer of rank " + std::to_string(peer));
  if (tag < 0 || tag >= kNumTags) throw std::runtime_error("no message tag " + std::to_string(tag));
  return control_of(from)->channels[to][tag];
}

ShmCommunicator::Address ShmCommunicator::address_of(const void* data, uint64_t bytes) {
  for (const auto& [hash, arena] : arenas_) {
    if (!arena->contains(data)) continue;
    auto offset = static_cast<uint64_t>(static_cast<const std::byte*>(data) - arena->data());
    if (bytes > arena->bytes() - offset) break;
    return {hash, offset};
  }
  throw std::runtime_error("a collective was given memory outside every arena");
}

std::byte* ShmCommunicator::resolve(int rank, Address address, uint64_t bytes) {
  for (const PeerArena& entry : peers_[rank].arenas) {
    if (entry.name_hash != address.arena) continue;
    if (address.offset > entry.arena->bytes() || bytes > entry.arena->bytes() - address.offset) break;
    return entry.arena->data() + address.offset;
  }
  throw CommError("comm/peer-lost", rank, "rank " + std::to_string(rank) + " published memory of an arena that was never connected");
}

bool ShmCommunicator::has_ended(int rank) const {
  const Peer& peer = peers_[rank];
  if (rank == rank_ || peer.pid <= 0) return false;
  pollfd state{peer.process, POLLIN, 0};
  if (peer.process >= 0) return poll(&state, 1, 0) == 1 && (state.revents & POLLIN);
  return kill(peer.pid, 0) != 0 && errno == ESRCH;
}

void ShmCommunicator::wait(std::atomic<uint32_t>& word, std::atomic<uint32_t>& waiters, uint32_t target, int peer,
                           const Purpose& purpose) {
  if (reached(word.load(std::memory_order_acquire), target)) return;
  auto begin = Clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  auto count = [&] {
    const double seconds = elapsed();
    wait_seconds_.fetch_add(seconds);
    thread_wait_seconds += seconds;
  };
  for (int i = 0, spins = std::min(spin_, spin_limit); i < spins; ++i) {
    relax();
    if (reached(word.load(std::memory_order_acquire), target)) {
      count();
      return;
    }
  }
  waiters.fetch_add(1, std::memory_order_seq_cst);
  struct Leave {
    std::atomic<uint32_t>& waiters;
    ~Leave() { waiters.fetch_sub(1, std::memory_order_seq_cst); }
  } leave{waiters};
  auto who = [&] { return waiting_for(purpose, target, peer); };
  for (;;) {
    // Looked at before the word: what the peer published before it ended still counts.
    bool ended = has_ended(peer);
    uint32_t seen = word.load(std::memory_order_seq_cst);
    if (reached(seen, target)) break;
    if (aborted_.load()) {
      std::lock_guard lock(abort_mutex_);
      throw CommError("comm/aborted", peer, who() + ": aborted: " + abort_reason_);
    }
    if (ended)
      throw CommError("comm/peer-lost", peer, who() + ": its process " + std::to_string(peers_[peer].pid) + " has ended");
    double limit = timeout_seconds_;
    double left = limit - elapsed();
    if (left <= 0) throw CommError("comm/timeout", peer, who() + ": no answer within " + in_seconds(limit));
    // A signal to the sleeper is not needed for aborts: it looks up at least every tenth of a second.
    futex_sleep(word, seen, std::min(0.1, left));
  }
  count();
}

std::string ShmCommunicator::waiting_for(const Purpose& purpose, uint32_t target, int peer) const {
  std::string where = purpose.group ? "of " + describe(purpose.group->spec) : "with tag " + std::to_string(purpose.tag);
  return "rank " + std::to_string(rank_) + " waits for rank " + std::to_string(peer) + " in " + purpose.operation + " " + where +
         ", sequence number " + std::to_string(target);
}

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
                    "ranks disagree about sequence number " + std::to_string(g.sequence) + " of " + describe(g.spec) + ": rank " +
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

void ShmCommunicator::abort(const std::string& reason) {
  {
    std::lock_guard lock(abort_mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
  }
  aborted_.store(true);
}

double ShmCommunicator::take_wait_seconds() { return wait_seconds_.exchange(0); }

}  // namespace merak
