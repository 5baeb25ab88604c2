// The groups, arenas and waits of ShmCommunicator; its collectives and messages are in files of their own.
#include "comm/shm.h"

#include <poll.h>         // poll of a pidfd
#include <signal.h>       // kill(pid, 0)
#include <sys/syscall.h>  // SYS_pidfd_open
#include <unistd.h>       // syscall, sysconf, close

#include <algorithm>  // min
#include <cerrno>     // ESRCH
#include <cstdio>     // snprintf

#include "comm/control.h"  // ControlBlock
#include "comm/futex.h"    // reached, futex_sleep

namespace merak {

namespace {

using Clock = std::chrono::steady_clock;

uint32_t hash_name(const std::string& name) {
  uint32_t h = 2166136261u;
  for (unsigned char c : name) h = (h ^ c) * 16777619u;
  return h;
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::string in_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", seconds);
  return text;
}

}  // namespace

std::string describe_group(const GroupSpec& spec) {
  std::string text = "group " + spec.axis + " [";
  for (size_t i = 0; i < spec.ranks.size(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(spec.ranks[i]);
  }
  return text + "]";
}

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
    if (!arena->shares(data)) continue;
    auto offset = static_cast<uint64_t>(static_cast<const std::byte*>(data) - arena->data());
    if (bytes > arena->shared_bytes() - offset) break;
    return {hash, offset};
  }
  throw std::runtime_error("a collective was given memory that peers cannot map");
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
  std::string where = purpose.group ? "of " + describe_group(purpose.group->spec) : "with tag " + std::to_string(purpose.tag);
  return "rank " + std::to_string(rank_) + " waits for rank " + std::to_string(peer) + " in " + purpose.operation + " " + where +
         ", sequence number " + std::to_string(target);
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
