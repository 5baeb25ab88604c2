// Streams and events that end with their owner.
#pragma once
#include "cuda/driver.h"  // handles

namespace merak::cuda {

class Stream {
 public:
  Stream() { check(driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate"); }
  ~Stream() { driver().cuStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator CUstream() const { return stream_; }
  void wait() const { check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize"); }
  bool is_done() const {
    const CUresult result = driver().cuStreamQuery(stream_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    check(result, "cuStreamQuery");
    return true;
  }

 private:
  CUstream stream_ = nullptr;
};

class Event {
 public:
  Event() { check(driver().cuEventCreate(&event_, CU_EVENT_DISABLE_TIMING), "cuEventCreate"); }
  ~Event() { driver().cuEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // What is enqueued on `later` from now on comes after what is on `earlier` now.
  void order(CUstream earlier, CUstream later) {
    record(earlier);
    await(later);
  }
  void record(CUstream stream) { check(driver().cuEventRecord(event_, stream), "cuEventRecord"); }
  void await(CUstream stream) { check(driver().cuStreamWaitEvent(stream, event_, 0), "cuStreamWaitEvent"); }

 private:
  CUevent event_ = nullptr;
};

}  // namespace merak::cuda
