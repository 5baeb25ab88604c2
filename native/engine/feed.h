// How batches reach a device that has memory of its own: a step's batch at its start, or ahead of it while another step runs.
#pragma once
#include <atomic>         // a look without the lock
#include <deque>          // announcements
#include <memory>         // ownership
#include <mutex>          // posted from any thread
#include <optional>       // nothing announced
#include <string>         // names
#include <unordered_map>  // fields
#include <vector>         // places

namespace merak {

// A step's fields by name: all its micro-batches, in the caller's memory.
using Fields = std::unordered_map<std::string, std::pair<const uint8_t*, size_t>>;

// Of one executable. Tickets name batches and grow; 0 names none.
class Feed {
 public:
  virtual ~Feed() = default;
  // At the step's start: where its loads will find each field, which has come ahead under `ticket` or is copied now.
  virtual std::vector<const uint8_t*> bring(uint64_t ticket, const std::vector<const uint8_t*>& fields) = 0;
  // While another step runs; nothing where there is no room. The caller's memory is read before this returns.
  virtual void bring_ahead(uint64_t ticket, const std::vector<const uint8_t*>& fields) = 0;
  virtual size_t bytes() const = 0;
};

// A batch whose step has yet to be called for. Its memory stays as it is until that step begins, or the engine ends.
struct Announcement {
  uint64_t ticket = 0;
  std::string executable;
  Fields fields;
};

// In the order of their steps. Any thread posts, the one that runs steps takes.
class Announcements {
 public:
  void post(Announcement announcement) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(announcement));
    is_any_ = true;
  }
  // The step of `ticket` begins: it and those before it have nothing to announce any more.
  void drop_through(uint64_t ticket) {
    const std::lock_guard lock(mutex_);
    while (!waiting_.empty() && waiting_.front().ticket <= ticket) waiting_.pop_front();
    is_any_ = !waiting_.empty();
  }
  std::optional<Announcement> take() {
    if (!is_any_.load(std::memory_order_relaxed)) return std::nullopt;
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return std::nullopt;
    std::optional<Announcement> next(std::move(waiting_.front()));
    waiting_.pop_front();
    is_any_ = !waiting_.empty();
    return next;
  }

 private:
  std::mutex mutex_;
  std::deque<Announcement> waiting_;
  std::atomic<bool> is_any_{false};
};

}  // namespace merak
