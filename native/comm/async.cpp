#include "comm/async.h"

#include <algorithm>  // find_if
#include <utility>    // exchange

namespace merak {

namespace {

// A helper that spins takes the core from the thread that computes.
constexpr int kHelperSpins = 50;
constexpr size_t kMaxTrace = 8192;

}  // namespace

AsyncCommunicator::~AsyncCommunicator() {
  cancel();
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (helper_.joinable()) helper_.join();
}

void AsyncCommunicator::start(const void* key, std::function<void(Communicator&)> call) {
  {
    std::lock_guard lock(mutex_);
    if (!helper_.joinable()) helper_ = std::thread([this] { help(); });
    jobs_.push_back({{key, now()}, std::move(call)});
  }
  wake_.notify_one();
}

void AsyncCommunicator::help() {
  spin_limit = kHelperSpins;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return closing_ || (!busy_ && num_done_ < jobs_.size()); });
    if (closing_) return;
    run_next(lock);
  }
}

void AsyncCommunicator::run_next(std::unique_lock<std::mutex>& lock) {
  Job& job = jobs_[num_done_];  // stays where it is: only done jobs are taken out of the queue, and a deque's ends move nothing
  busy_ = true;
  const bool failed = error_ != nullptr;
  lock.unlock();
  std::exception_ptr thrown;
  job.event.begun = now();
  if (!failed) {
    try {
      job.call(inner_);
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  job.event.ended = now();
  lock.lock();
  if (thrown && !error_) error_ = thrown;
  job.done = true;
  busy_ = false;
  num_done_++;
  ended_.notify_all();
  wake_.notify_one();
}

void AsyncCommunicator::finish(const void* key) {
  std::unique_lock lock(mutex_);
  const double awaited = now();
  // A buffer may be in flight again before an earlier round of it was finished only by mistake: the oldest is meant.
  const auto find = [&] { return std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.event.key == key; }); };
  auto job = find();
  if (job == jobs_.end()) throw std::runtime_error("a collective is awaited that was never started");
  while (!job->done) {
    // Who waits may as well work: no hand-over when the helper has not got round to it.
    if (!busy_) run_next(lock);
    else ended_.wait(lock);
    job = find();
  }
  if (error_) std::rethrow_exception(error_);
  Event event = job->event;
  event.awaited = awaited;
  event.released = now();
  if (trace_.size() < kMaxTrace) trace_.push_back(event);
  // Erased at an end so that references to running jobs stay valid: later ones wait until those before them are finished.
  job->event.key = nullptr;
  while (!jobs_.empty() && jobs_.front().done && jobs_.front().event.key == nullptr) {
    jobs_.pop_front();
    num_done_--;
  }
}

void AsyncCommunicator::drain() {
  std::unique_lock lock(mutex_);
  while (num_done_ < jobs_.size()) {
    if (!busy_) run_next(lock);
    else ended_.wait(lock);
  }
  if (error_) std::rethrow_exception(error_);
}

void AsyncCommunicator::cancel() {
  std::unique_lock lock(mutex_);
  while (busy_) ended_.wait(lock);
  jobs_.clear();
  num_done_ = 0;
  error_ = nullptr;
}

std::vector<AsyncCommunicator::Event> AsyncCommunicator::take_trace() {
  std::lock_guard lock(mutex_);
  return std::exchange(trace_, {});
}

}  // namespace merak
