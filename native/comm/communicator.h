// Collectives and point-to-point between the ranks of a plan, whatever carries them.
#pragma once
#include <atomic>      // abort flag
#include <cstddef>     // size_t
#include <cstdint>     // fixed-width integers
#include <functional>  // queued calls
#include <stdexcept>   // CommError
#include <string>      // messages
#include <vector>      // groups

namespace merak {

enum class ReduceOp { sum, max };

// How often a wait of this thread looks before it sleeps, at most.
inline thread_local int spin_limit = 1 << 30;

// Seconds this thread has waited for peers, ever.
inline thread_local double thread_wait_seconds = 0;

struct GroupSpec {
  int id = 0;
  std::string axis;         // 'tp', 'dp', 'world', 'tie'
  std::vector<int> ranks;   // the order is the reduction order
};

// code is 'comm/timeout', 'comm/aborted', 'comm/peer-lost' or 'comm/mismatch' (ranks at odds about the call); the message names the absent rank, the operation and its sequence number.
struct CommError : std::runtime_error {
  std::string code;
  int absent_rank;
  CommError(std::string code_, int rank, const std::string& message)
      : std::runtime_error(message), code(std::move(code_)), absent_rank(rank) {}
};

// Data pointers must lie in an arena the communicator knows (Arena in comm/arena.h), so that peers can read them in place.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  // Sum or max over the group, in place, every rank ending with the same bits: reduced in group order.
  // Sums are then multiplied by `scale`.
  virtual void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) = 0;
  // `input` (count floats) of every rank, in group order, into `output` (count * group size floats).
  virtual void all_gather(int group, const void* input, void* output, size_t bytes) = 0;
  // `input` is [outer, chunk] on every rank; their chunks lie side by side in `output` [outer, group size, chunk]. Sizes in bytes.
  virtual void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) = 0;
  // `input` is [outer, group size, chunk] floats on every rank; `output` [outer, chunk] this rank's piece of their sum (in group
  // order), times `scale`. `output` may be this rank's piece of `input` when `outer` is 1.
  virtual void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) = 0;
  // Queues `call`, made on another thread after all queued before it, if the communicator has one; here it is made at once.
  // What it reads and writes belongs to it until finish(key), which throws what the call threw.
  virtual void start(const void* key, std::function<void(Communicator&)> call) {
    (void)key;
    call(*this);
  }
  virtual void finish(const void* key) { (void)key; }
  virtual void broadcast(int group, void* data, size_t bytes, int root_index) = 0;
  virtual void barrier(int group) = 0;
  // Posts a message on channel (this rank -> peer, tag) and returns; `data` must stay untouched until wait_sent(peer, tag, ticket).
  // Tickets count from 1 per channel.
  virtual uint64_t send(int peer, int tag, const void* data, size_t bytes) = 0;
  virtual void wait_sent(int peer, int tag, uint64_t ticket) = 0;
  virtual void receive(int peer, int tag, void* data, size_t bytes) = 0;
  // Every wait below this call ends with CommError('comm/timeout') after so many seconds.
  virtual void set_timeout(double seconds) = 0;
  // Callable from any thread: waits in flight and later ones throw CommError('comm/aborted').
  virtual void abort(const std::string& reason) = 0;
  // Seconds spent waiting since the last call.
  virtual double take_wait_seconds() = 0;
};

}  // namespace merak
