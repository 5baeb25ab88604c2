// A stand-in for NCCL between the processes of this machine, over shared memory and on the streams of the stand-in libcuda.
//
// A communicator of several ranks takes 14 MiB of the card for each channel that it may use.
// As strict as the real one: a GPU may appear once in a communicator, a communicator that is not ready takes no calls, a send ends when
// its receiver has taken everything, and a peer that is gone is waited for until somebody aborts. Calls of a non-blocking communicator reach
// their stream only while it is asked for its state. Whether a call is captured is the same on all its ranks, and a communicator ends only
// when no graph holds calls of it (as since NCCL 2.26). What the real one would not notice, or would wait for without end (ranks at odds about
// a call; a graph that nobody destroys), ends the process with a message.
// MERAK_STANDIN_NCCL_ERROR=RANK:CALL lets the CALLth operation (from 1) of that rank of each communicator fail with an asynchronous error.
#include <fcntl.h>     // shm_open
#include <sys/mman.h>  // mmap
#include <unistd.h>    // ftruncate

#include <atomic>   // shared words
#include <cmath>    // fmax
#include <cstdint>  // fixed-width integers
#include <cstdio>   // messages
#include <cstdlib>  // getenv
#include <cstring>  // memcpy
#include <map>      // streams of a group
#include <memory>   // communicators in flight
#include <string>   // names
#include <vector>   // parts

#include "libcuda.h"  // enqueue
#include "version.h"  // version_setting

namespace {

using merak_standin::Poll;
using merak_standin::Start;

enum : int { kSuccess = 0, kSystemError = 2, kInvalidArgument = 4, kInvalidUsage = 5, kInProgress = 7 };
enum Kind : uint32_t { kAllReduce = 1, kReduceScatter, kAllGather, kBroadcast };

constexpr int kMaxRanks = 64;
constexpr size_t kSlotBytes = 64 << 10;  // of a collective's chunk; large ones take many rounds
constexpr size_t kChannelBytes = 64 << 10;

struct Offer {
  uint32_t kind, type, op, root;
  uint64_t bytes;
  uint64_t is_captured;
};
struct Member {
  std::atomic<uint32_t> has_joined;
  std::atomic<int32_t> device;
  alignas(64) std::atomic<uint64_t> arrived;  // rounds brought
  alignas(64) std::atomic<uint64_t> done;     // rounds taken by this member from all
  Offer offers[2];
  unsigned char slots[2][kSlotBytes];
};
struct Channel {
  alignas(64) std::atomic<uint64_t> posted;
  alignas(64) std::atomic<uint64_t> taken;
  uint64_t total, bytes, is_captured;
  unsigned char data[kChannelBytes];
};
// Members, then channels [from][to]. Pages that nobody touches cost nothing.
struct Shared {
  std::atomic<uint32_t> num_joined;
};

struct Comm {
  std::string name;
  int rank, num_ranks;
  Shared* shared;
  Member* members;
  Channel* channels;
  size_t mapped;
  std::atomic<int> error{kSuccess};
  std::atomic<bool> is_aborted{false}, is_ready{false};
  bool is_blocking = true;
  std::atomic<int> num_graph_calls{0};  // that graphs hold
  std::vector<std::function<int()>> deferred;
  std::string last_error;
  uint64_t rounds = 0, calls = 0;
  std::vector<double> factors;  // of the operations made by ncclRedOpCreatePreMulSum, which number from 5
  long long device_bytes = 0;
  ~Comm() {
    munmap(shared, mapped);
    merak_standin::take(-device_bytes);
  }
  Channel& channel(int from, int to) { return channels[from * num_ranks + to]; }
};
using Handle = std::shared_ptr<Comm>;

thread_local std::string thread_error;
thread_local int group_depth = 0;
struct Pending {
  Handle comm;
  void* stream;
  Start start;
  bool is_collective;
};
thread_local std::vector<Pending> group;

Handle& of(void* comm) { return *static_cast<Handle*>(comm); }

int fail(int code, const std::string& message) {
  thread_error = message;
  return code;
}

[[noreturn]] void at_odds(const Comm& comm, int peer, const char* what) {
  std::fprintf(stderr, "stand-in NCCL: rank %d and rank %d are at odds about %s\n", comm.rank, peer, what);
  std::abort();
}

size_t size_of(int type) {
  static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
  return type >= 0 && type <= 9 ? sizes[type] : 0;
}

double load(const unsigned char* data, int type, size_t i) {
  switch (type) {
    case 0: return reinterpret_cast<const int8_t*>(data)[i];
    case 1: return data[i];
    case 2: return reinterpret_cast<const int32_t*>(data)[i];
    case 3: return reinterpret_cast<const uint32_t*>(data)[i];
    case 7: return reinterpret_cast<const float*>(data)[i];
    case 8: return reinterpret_cast<const double*>(data)[i];
    case 9: {
      const uint32_t bits = static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(data)[i]) << 16;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    }
    default: std::fprintf(stderr, "stand-in NCCL: no arithmetic on type %d\n", type); std::abort();
  }
}
void store(unsigned char* data, int type, size_t i, double x) {
  switch (type) {
    case 0: reinterpret_cast<int8_t*>(data)[i] = static_cast<int8_t>(x); return;
    case 1: data[i] = static_cast<unsigned char>(x); return;
    case 2: reinterpret_cast<int32_t*>(data)[i] = static_cast<int32_t>(x); return;
    case 3: reinterpret_cast<uint32_t*>(data)[i] = static_cast<uint32_t>(x); return;
    case 7: reinterpret_cast<float*>(data)[i] = static_cast<float>(x); return;
    case 8: reinterpret_cast<double*>(data)[i] = x; return;
    case 9: {
      const auto value = static_cast<float>(x);
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      reinterpret_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
      return;
    }
    default: std::abort();
  }
}
// In rank order; float32 sums are rounded at each step, as a card's are.
double join(double a, double b, uint32_t op, int type) {
  const double x = op == 1 ? a * b : op == 2 ? (a > b || a != a ? a : b) : op == 3 ? (a < b || a != a ? a : b) : a + b;
  return type == 8 || type < 7 ? x : static_cast<double>(static_cast<float>(x));
}

// Counts the call; true when it is the one that MERAK_STANDIN_NCCL_ERROR lets fail.
bool is_to_fail(Comm& comm) {
  comm.calls++;
  int rank = -1;
  unsigned long long call = 0;
  const char* wanted = std::getenv("MERAK_STANDIN_NCCL_ERROR");
  return wanted && std::sscanf(wanted, "%d:%llu", &rank, &call) == 2 && rank == comm.rank && call == comm.calls;
}
Poll failed(const Handle& comm) {
  comm->last_error = "injected by MERAK_STANDIN_NCCL_ERROR";
  comm->error = kSystemError;
  return [comm] { return comm->is_aborted.load(); };
}

// A collective: every member brings its input chunk by chunk and takes what it needs out of the others' chunks.
Start collective(const Handle& comm, Offer offer, const void* from, void* to) {
  return [comm, offer, from, to]() -> Poll {
    if (is_to_fail(*comm)) return failed(comm);
    struct State {
      uint64_t begin = 0;
      bool is_brought = false, is_taken = false;
    };
    auto state = std::make_shared<State>();
    return [comm, offer, from, to, state] {
      Comm& c = *comm;
      const size_t element = size_of(static_cast<int>(offer.type));
      for (;;) {
        if (c.is_aborted) return true;
        const uint64_t round = c.rounds;
        const size_t bytes = std::min<uint64_t>(kSlotBytes, offer.bytes - state->begin);
        Member& own = c.members[c.rank];
        if (!state->is_brought) {
          // The slot of two rounds ago is free once all have taken it.
          for (int r = 0; r < c.num_ranks; r++)
            if (c.members[r].done.load(std::memory_order_acquire) + 1 < round) return false;
          own.offers[round & 1] = offer;
          const bool brings = offer.kind != kBroadcast || static_cast<int>(offer.root) == c.rank;
          if (brings && bytes) std::memcpy(own.slots[round & 1], static_cast<const unsigned char*>(from) + state->begin, bytes);
          own.arrived.store(round + 1, std::memory_order_release);
          state->is_brought = true;
        }
        for (int r = 0; r < c.num_ranks; r++)
          if (c.members[r].arrived.load(std::memory_order_acquire) < round + 1) return false;
        for (int r = 0; r < c.num_ranks; r++)
          if (std::memcmp(&c.members[r].offers[round & 1], &offer, sizeof offer) != 0) at_odds(c, r, "a collective");
        auto* out = static_cast<unsigned char*>(to);
        const auto slot = [&](int r) { return c.members[r].slots[round & 1]; };
        const uint64_t first = state->begin / element, count = bytes / element;
        const auto reduce = [&](uint64_t i) {
          const double factor = offer.op >= 5 ? c.factors[offer.op - 5] : 1;
          double sum = load(slot(0), static_cast<int>(offer.type), i) * factor;
          for (int r = 1; r < c.num_ranks; r++)
            sum = join(sum, load(slot(r), static_cast<int>(offer.type), i) * factor, offer.op, static_cast<int>(offer.type));
          return offer.op == 4 ? sum / c.num_ranks : sum;
        };
        if (offer.kind == kAllReduce) {
          for (uint64_t i = 0; i < count; i++) store(out, static_cast<int>(offer.type), first + i, reduce(i));
        } else if (offer.kind == kReduceScatter) {
          const uint64_t part = offer.bytes / element / static_cast<uint64_t>(c.num_ranks), own_first = part * static_cast<uint64_t>(c.rank);
          for (uint64_t i = 0; i < count; i++)
            if (first + i >= own_first && first + i < own_first + part)
              store(out, static_cast<int>(offer.type), first + i - own_first, reduce(i));
        } else if (offer.kind == kAllGather) {
          for (int r = 0; r < c.num_ranks && bytes; r++) std::memcpy(out + static_cast<uint64_t>(r) * offer.bytes + state->begin, slot(r), bytes);
        } else if (bytes) {
          std::memcpy(out + state->begin, slot(static_cast<int>(offer.root)), bytes);
        }
        own.done.store(round + 1, std::memory_order_release);
        c.rounds++;
        state->begin += bytes;
        state->is_brought = false;
        if (state->begin >= offer.bytes) return true;
      }
    };
  };
}

Start sending(const Handle& comm, const void* from, size_t bytes, int peer, bool is_captured) {
  return [comm, from, bytes, peer, is_captured]() -> Poll {
    if (is_to_fail(*comm)) return failed(comm);
    auto begin = std::make_shared<uint64_t>(0);
    auto posted = std::make_shared<bool>(false);
    return [=] {
      Channel& channel = comm->channel(comm->rank, peer);
      for (;;) {
        if (comm->is_aborted) return true;
        if (channel.taken.load(std::memory_order_acquire) != channel.posted.load(std::memory_order_relaxed)) return false;
        if (*posted && *begin >= bytes) return true;
        const size_t n = std::min<uint64_t>(kChannelBytes, bytes - *begin);
        channel.total = bytes;
        channel.bytes = n;
        channel.is_captured = is_captured;
        if (n) std::memcpy(channel.data, static_cast<const unsigned char*>(from) + *begin, n);
        *begin += n;
        *posted = true;
        channel.posted.fetch_add(1, std::memory_order_release);
      }
    };
  };
}
Start receiving(const Handle& comm, void* to, size_t bytes, int peer, bool is_captured) {
  return [comm, to, bytes, peer, is_captured]() -> Poll {
    if (is_to_fail(*comm)) return failed(comm);
    auto begin = std::make_shared<uint64_t>(0);
    return [=] {
      Channel& channel = comm->channel(peer, comm->rank);
      for (;;) {
        if (comm->is_aborted) return true;
        if (channel.posted.load(std::memory_order_acquire) == channel.taken.load(std::memory_order_relaxed)) return false;
        if (channel.total != bytes) at_odds(*comm, peer, "the size of a message");
        if (channel.is_captured != is_captured) at_odds(*comm, peer, "whether a message is captured");
        if (channel.bytes) std::memcpy(static_cast<unsigned char*>(to) + *begin, channel.data, channel.bytes);
        *begin += channel.bytes;
        channel.taken.fetch_add(1, std::memory_order_release);
        if (*begin >= bytes) return true;
      }
    };
  };
}

// Puts a call on its stream, or into the graph that captures it.
int put(const Handle& comm, void* stream, const Start& start) {
  comm->num_graph_calls++;
  merak_standin::retain(stream, std::shared_ptr<void>(nullptr, [comm](void*) { comm->num_graph_calls--; }));
  return merak_standin::enqueue(stream, start) == 0 ? kSuccess : kInvalidUsage;
}

int submit(void* comm_pointer, void* stream, const void* from, size_t from_bytes, const void* to, size_t to_bytes, const Start& start,
           bool is_collective) {
  if (!comm_pointer) return fail(kInvalidArgument, "no communicator");
  const Handle& comm = of(comm_pointer);
  if (!comm->is_ready) return fail(kInvalidUsage, "the communicator is not ready");
  if (comm->is_aborted) return fail(kInvalidUsage, "the communicator was aborted");
  if (!comm->deferred.empty()) return fail(kInvalidUsage, "the last call is still in progress");
  if (comm->error != kSuccess) return comm->error;
  if (from && from_bytes && !merak_standin::is_device_memory(from, from_bytes)) return fail(kInvalidArgument, "the source is no device memory");
  if (to && to_bytes && !merak_standin::is_device_memory(to, to_bytes)) return fail(kInvalidArgument, "the destination is no device memory");
  if (group_depth > 0) {
    group.push_back({comm, stream, start, is_collective});
    return kSuccess;
  }
  return put(comm, stream, start);
}

// The communicator's last call, with no graph left that holds one.
void end(void* pointer) {
  Handle& comm = of(pointer);
  comm->deferred.clear();
  for (int milliseconds = 0; comm->num_graph_calls > 0; milliseconds++) {
    if (milliseconds == 10000) {
      std::fprintf(stderr, "stand-in NCCL: rank %d ends a communicator of which a graph holds %d calls\n", comm->rank, comm->num_graph_calls.load());
      std::abort();
    }
    merak_standin::work();
    usleep(1000);
  }
  delete static_cast<Handle*>(pointer);
}

// True once everybody has joined; notes whether all have GPUs of their own.
bool look_for_others(Comm& comm) {
  if (comm.is_ready || comm.error != kSuccess) return true;
  if (comm.shared->num_joined.load() < static_cast<uint32_t>(comm.num_ranks)) return false;
  for (int r = 0; r < comm.num_ranks; r++)
    if (r != comm.rank && comm.members[r].device == comm.members[comm.rank].device) {
      comm.last_error = "Duplicate GPU detected : rank " + std::to_string(comm.rank) + " and rank " + std::to_string(r);
      comm.error = kInvalidUsage;
      return true;
    }
  comm.is_ready = true;
  return true;
}

uint64_t captured(void* stream) { return merak_standin::is_captured(stream) ? 1 : 0; }

struct UniqueId {
  char internal[128];
};
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking, cluster_size, min_ctas, max_ctas;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int ncclGetVersion(int* version) {
  *version = merak_standin::version_setting("NCCL", 22907);
  return kSuccess;
}
EXPORT const char* ncclGetErrorString(int result) {
  switch (result) {
    case kSuccess: return "no error";
    case kSystemError: return "unhandled system error";
    case kInvalidArgument: return "invalid argument";
    case kInvalidUsage: return "invalid usage";
    case kInProgress: return "NCCL operation in progress";
    default: return "internal error";
  }
}
EXPORT const char* ncclGetLastError(void* comm) {
  if (comm && !of(comm)->last_error.empty()) return of(comm)->last_error.c_str();
  return thread_error.c_str();
}
EXPORT int ncclGetUniqueId(UniqueId* id) {
  static std::atomic<int> count{0};
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "/merak-standin-nccl-%d-%d-%ld", getpid(), count++, time.tv_nsec);
  return kSuccess;
}
EXPORT int ncclCommInitRankConfig(void** result, int num_ranks, UniqueId id, int rank, Config* config) {
  if (rank < 0 || rank >= num_ranks || num_ranks > kMaxRanks) return fail(kInvalidArgument, "no such rank");
  if (!config || config->magic != 0xcafebeef) return fail(kInvalidArgument, "the configuration was not initialised");
  const int device = merak_standin::current_device();
  if (device < 0) return fail(kInvalidUsage, "no current context");
  const size_t header = 4096, members = sizeof(Member) * static_cast<size_t>(num_ranks);
  const size_t mapped = header + members + sizeof(Channel) * static_cast<size_t>(num_ranks) * static_cast<size_t>(num_ranks);
  const int file = shm_open(id.internal, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(mapped)) != 0) return fail(kSystemError, "no shared memory");
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return fail(kSystemError, "no shared memory");
  auto comm = std::make_shared<Comm>();
  comm->name = id.internal;
  comm->rank = rank;
  comm->num_ranks = num_ranks;
  comm->shared = static_cast<Shared*>(memory);
  comm->members = reinterpret_cast<Member*>(static_cast<char*>(memory) + header);
  comm->channels = reinterpret_cast<Channel*>(static_cast<char*>(memory) + header + members);
  comm->mapped = mapped;
  comm->members[rank].device = device;
  if (comm->members[rank].has_joined.exchange(1)) return fail(kInvalidUsage, "the rank joined twice");
  if (comm->shared->num_joined.fetch_add(1) + 1 == static_cast<uint32_t>(num_ranks)) shm_unlink(id.internal);
  // As much as a channel's buffers towards one peer.
  const int num_channels = config->max_ctas > 0 ? config->max_ctas : 32;
  comm->device_bytes = num_ranks > 1 ? num_channels * (14LL << 20) : 0;
  merak_standin::take(comm->device_bytes);
  *result = new Handle(comm);
  comm->is_blocking = config->blocking != 0;
  if (!comm->is_blocking) return kInProgress;
  while (!look_for_others(*comm)) usleep(50);
  return comm->error;
}
EXPORT int ncclCommGetAsyncError(void* comm, int* error) {
  merak_standin::progress();
  if (std::vector<std::function<int()>>& deferred = of(comm)->deferred; !deferred.empty()) {
    for (const auto& call : deferred)
      if (const int failed = call()) of(comm)->error = failed;
    deferred.clear();
    *error = kInProgress;
    return kSuccess;
  }
  *error = look_for_others(*of(comm)) ? of(comm)->error.load() : kInProgress;
  return kSuccess;
}
EXPORT int ncclCommFinalize(void*) { return kSuccess; }
EXPORT int ncclCommDestroy(void* comm) {
  end(comm);
  return kSuccess;
}
EXPORT int ncclCommAbort(void* comm) {
  of(comm)->is_aborted = true;
  if (!of(comm)->is_ready) shm_unlink(of(comm)->name.c_str());
  end(comm);
  return kSuccess;
}
EXPORT int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  const size_t bytes = count * size_of(type);
  return submit(comm, stream, from, bytes, to, bytes,
                collective(of(comm), {kAllReduce, static_cast<uint32_t>(type), static_cast<uint32_t>(op), 0, bytes, captured(stream)}, from, to), true);
}
EXPORT int ncclReduceScatter(const void* from, void* to, size_t count, int type, int op, void* comm, void* stream) {
  const size_t bytes = count * size_of(type), all = bytes * static_cast<size_t>(of(comm)->num_ranks);
  return submit(comm, stream, from, all, to, bytes,
                collective(of(comm), {kReduceScatter, static_cast<uint32_t>(type), static_cast<uint32_t>(op), 0, all, captured(stream)}, from, to), true);
}
EXPORT int ncclAllGather(const void* from, void* to, size_t count, int type, void* comm, void* stream) {
  const size_t bytes = count * size_of(type);
  return submit(comm, stream, from, bytes, to, bytes * static_cast<size_t>(of(comm)->num_ranks),
                collective(of(comm), {kAllGather, static_cast<uint32_t>(type), 0, 0, bytes, captured(stream)}, from, to), true);
}
EXPORT int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, void* comm, void* stream) {
  const size_t bytes = count * size_of(type);
  return submit(comm, stream, root == of(comm)->rank ? from : nullptr, bytes, to, bytes,
                collective(of(comm), {kBroadcast, static_cast<uint32_t>(type), 0, static_cast<uint32_t>(root), bytes, captured(stream)}, from, to), true);
}
EXPORT int ncclSend(const void* from, size_t count, int type, int peer, void* comm, void* stream) {
  const size_t bytes = count * size_of(type);
  if (peer < 0 || peer >= of(comm)->num_ranks) return fail(kInvalidArgument, "no such peer");
  return submit(comm, stream, from, bytes, nullptr, 0, sending(of(comm), from, bytes, peer, captured(stream)), false);
}
EXPORT int ncclRecv(void* to, size_t count, int type, int peer, void* comm, void* stream) {
  const size_t bytes = count * size_of(type);
  if (peer < 0 || peer >= of(comm)->num_ranks) return fail(kInvalidArgument, "no such peer");
  return submit(comm, stream, nullptr, 0, to, bytes, receiving(of(comm), to, bytes, peer, captured(stream)), false);
}
EXPORT int ncclRedOpCreatePreMulSum(int* op, void* scalar, int type, int residence, void* comm) {
  if (type != 7 || residence != 1) return fail(kInvalidArgument, "only float32 factors in the host's memory");
  of(comm)->factors.push_back(*static_cast<float*>(scalar));
  *op = 4 + static_cast<int>(of(comm)->factors.size());
  return kSuccess;
}
EXPORT int ncclGroupStart() {
  group_depth++;
  return kSuccess;
}
// Messages of a group on one stream make progress together, its collectives one after the other.
EXPORT int ncclGroupEnd() {
  if (group_depth == 0) return fail(kInvalidUsage, "no group was started");
  if (--group_depth > 0) return kSuccess;
  if (group.empty()) return kSuccess;
  const Handle first = group.front().comm;
  std::map<std::pair<void*, Handle>, std::vector<Pending>> streams;
  for (Pending& pending : group) streams[{pending.stream, pending.comm}].push_back(std::move(pending));
  group.clear();
  int result = kSuccess;
  for (auto& [where, pendings] : streams) {
    const Start together = [pendings = std::move(pendings)]() -> Poll {
      struct State {
        std::vector<Poll> messages;
        std::vector<Start> collectives;
        size_t next = 0;
        Poll current;
      };
      auto state = std::make_shared<State>();
      for (const Pending& pending : pendings) {
        if (pending.is_collective) state->collectives.push_back(pending.start);
        else state->messages.push_back(pending.start());
      }
      return [state] {
        std::erase_if(state->messages, [](const Poll& poll) { return poll(); });
        while (state->next < state->collectives.size()) {
          if (!state->current) state->current = state->collectives[state->next]();
          if (!state->current()) return false;
          state->current = nullptr;
          state->next++;
        }
        return state->messages.empty();
      };
    };
    const auto call = [stream = where.first, comm = where.second, together] { return put(comm, stream, together); };
    if (!first->is_blocking) first->deferred.push_back(call);
    else if (const int failed = call()) result = failed;
  }
  return first->is_blocking ? result : kInProgress;
}
#ifndef STANDIN_WITHOUT_NEWER
EXPORT int ncclCommShrink(void*, int*, int, void**, void*, int) { return kInvalidUsage; }
EXPORT int ncclCommRevoke(void*, int) { return kInvalidUsage; }
EXPORT int ncclCommWindowRegister(void*, void*, size_t, void**, int) { return kInvalidUsage; }
#endif
