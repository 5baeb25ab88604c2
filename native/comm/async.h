// Collectives that run while the caller computes: a queue that a helper thread works off in order, over any communicator.
#pragma once
#include <chrono>              // event times
#include <condition_variable>  // wake-ups
#include <deque>               // queue
#include <exception>           // what a queued call threw
#include <mutex>               // queue lock
#include <thread>              // helper

#include "comm/communicator.h"  // Communicator

namespace merak {

// Calls made directly wait for the queue to run dry first, so that every rank meets its peers in the order of its calls, queued
// or not. One thread makes the calls; abort, set_timeout and take_wait_seconds may come from anywhere.
class AsyncCommunicator : public Communicator {
 public:
  explicit AsyncCommunicator(Communicator& inner) : inner_(inner), origin_(Clock::now()) {}
  ~AsyncCommunicator() override;

  // Seconds since the communicator was made: when a queued call was asked for, ran, and was waited for.
  struct Event {
    const void* key;
    double started = 0, begun = 0, ended = 0, awaited = 0, released = 0;
  };

  void start(const void* key, std::function<void(Communicator&)> call) override;
  void finish(const void* key) override;
  // Forgets what has not begun and waits for what has, so that no buffer is touched any more. Errors are swallowed.
  void cancel();
  // The calls queued and finished since the last look, at most the latest few thousand.
  std::vector<Event> take_trace();
  // What events count from, in seconds on the steady clock.
  double origin_seconds() const { return std::chrono::duration<double>(origin_.time_since_epoch()).count(); }

  int rank() const override { return inner_.rank(); }
  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override {
    drain();
    inner_.all_reduce(group, data, count, op, scale);
  }
  void all_gather(int group, const void* input, void* output, size_t bytes) override {
    drain();
    inner_.all_gather(group, input, output, bytes);
  }
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override {
    drain();
    inner_.all_gather_into(group, input, output, outer, chunk_bytes);
  }
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override {
    drain();
    inner_.reduce_scatter(group, input, output, outer, chunk, scale);
  }
  void broadcast(int group, void* data, size_t bytes, int root_index) override {
    drain();
    inner_.broadcast(group, data, bytes, root_index);
  }
  void barrier(int group) override {
    drain();
    inner_.barrier(group);
  }
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override { return inner_.send(peer, tag, data, bytes); }
  void wait_sent(int peer, int tag, uint64_t ticket) override { inner_.wait_sent(peer, tag, ticket); }
  void receive(int peer, int tag, void* data, size_t bytes) override { inner_.receive(peer, tag, data, bytes); }
  void set_timeout(double seconds) override { inner_.set_timeout(seconds); }
  void abort(const std::string& reason) override { inner_.abort(reason); }
  double take_wait_seconds() override { return inner_.take_wait_seconds(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    Event event;
    std::function<void(Communicator&)> call;
    bool done = false;
  };

  double now() const { return std::chrono::duration<double>(Clock::now() - origin_).count(); }
  void help();
  // Runs the first job that is not done. `lock` is held on entry and on return, not meanwhile.
  void run_next(std::unique_lock<std::mutex>& lock);
  void drain();

  Communicator& inner_;
  const Clock::time_point origin_;
  std::mutex mutex_;
  std::condition_variable wake_, ended_;
  std::deque<Job> jobs_;   // in order; the first `num_done_` are done and not yet finished
  size_t num_done_ = 0;
  bool busy_ = false;      // somebody runs jobs_[num_done_]
  bool closing_ = false;
  std::exception_ptr error_;  // of the first call that failed: every later one fails alike
  std::vector<Event> trace_;
  std::thread helper_;     // started by the first start()
};

}  // namespace merak
