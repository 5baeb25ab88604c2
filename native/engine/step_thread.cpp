// The engine's job thread.
#include "engine/step_thread.h"

#include <omp.h>  // omp_set_num_threads

namespace merak {

StepThread::StepThread(int num_threads) : thread_([this, num_threads] { loop(num_threads); }) {}

StepThread::~StepThread() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StepThread::post(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void StepThread::loop(int num_threads) {
  omp_set_num_threads(num_threads);
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace merak
