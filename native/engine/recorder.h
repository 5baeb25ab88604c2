// What a step did and when, for traces. Off, it costs one look at a flag.
#pragma once
#include <atomic>  // on or off
#include <chrono>  // the machine's steady clock
#include <mutex>   // two threads write
#include <thread>  // which of them
#include <vector>  // spans

#include "comm/communicator.h"  // Communicator

namespace merak {

// Seconds on the machine's steady clock, which all processes of a host share.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Span {
  enum class Kind : uint8_t { step, instruction, node, exchange, awaited };
  Kind kind = Kind::step;
  int64_t index = 0;     // instruction: place in the schedule; node: place in its program; exchange: an Exchange
  int64_t detail = -1;   // node: the Program::index; exchange: the group, or the peer of a message
  double begin = 0, end = 0;
  double wait = 0;       // exchange: seconds of it spent waiting for peers
  double bytes = 0;      // exchange: of this rank's buffer
  uint64_t buffer = 0;   // exchange, awaited: names the buffer, so that one finds the other
  bool helper = false;   // ran on the communicator's helper thread
};

enum class Exchange : uint8_t { all_reduce, all_gather, reduce_scatter, broadcast, barrier, send, wait_sent, receive };

// Spans in the order of their ends. The step's thread starts and takes; both threads add.
class Recorder {
 public:
  bool on() const { return on_.load(std::memory_order_relaxed); }
  // Forgets what was recorded and records from now on, on the calling thread and helpers.
  void start();
  // Stops; what was recorded.
  std::vector<Span> take();
  void add(Span span);

 private:
  std::atomic<bool> on_{false};
  std::mutex mutex_;
  std::thread::id owner_;
  std::vector<Span> spans_;
};

// Notes every call on its way to `inner`.
class RecordingCommunicator : public Communicator {
 public:
  RecordingCommunicator(Communicator& inner, Recorder& recorder) : inner_(inner), recorder_(recorder) {}

  int rank() const override { return inner_.rank(); }
  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override;
  void all_gather(int group, const void* input, void* output, size_t bytes) override;
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override;
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override;
  void broadcast(int group, void* data, size_t bytes, int root_index) override;
  void barrier(int group) override;
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override;
  void wait_sent(int peer, int tag, uint64_t ticket) override;
  void receive(int peer, int tag, void* data, size_t bytes) override;
  void set_timeout(double seconds) override { inner_.set_timeout(seconds); }
  void abort(const std::string& reason) override { inner_.abort(reason); }
  double take_wait_seconds() override { return inner_.take_wait_seconds(); }

 private:
  template <class Call>
  auto noted(Exchange what, int with, const void* buffer, size_t bytes, Call call);

  Communicator& inner_;
  Recorder& recorder_;
};

}  // namespace merak
