// One thread that runs an engine's jobs in order, so that the caller's event loop stays free and OpenMP keeps one team.
#pragma once
#include <condition_variable>  // wake-up
#include <deque>               // waiting jobs
#include <functional>          // jobs
#include <mutex>               // the queue's lock
#include <thread>              // the thread

namespace merak {

class StepThread {
 public:
  explicit StepThread(int num_threads);
  ~StepThread();  // lets the queued jobs finish
  void post(std::function<void()> job);

 private:
  void loop(int num_threads);
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace merak
