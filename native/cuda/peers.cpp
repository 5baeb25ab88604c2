// Ordering collectives and computing by events.
#include "cuda/peers.h"

#include "cuda/step_graph.h"  // StepGraph
#include "engine/error.h"     // EngineError

namespace merak::cuda {

StreamCommunicator::StreamCommunicator(std::unique_ptr<DeviceCommunicator> inner, Recorder& recorder, CUstream compute)
    : inner_(std::move(inner)), noted_(*inner_, recorder), compute_(compute) {
  inner_->set_stream(compute_);
}

void StreamCommunicator::start(const void* key, std::function<void(Communicator&)> call) {
  if (!inner_->enqueues_only()) return call(noted_);  // it waits for its stream itself: nothing would run beside
  begun_.order(compute_, beside_);
  inner_->set_stream(beside_);
  try {
    call(noted_);
  } catch (...) {
    inner_->set_stream(compute_);
    throw;
  }
  inner_->set_stream(compute_);
  std::unique_ptr<Event>& event = started_[key];
  if (!event) event = std::make_unique<Event>();
  event->record(beside_);
}

void StreamCommunicator::finish(const void* key) {
  const auto found = started_.find(key);
  if (found != started_.end()) found->second->await(compute_);
}

CapturedExchanges StreamCommunicator::capture(const std::function<void()>& work) {
  return inner_->capture([&] {
    work();
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    check(driver().cuStreamIsCapturing(beside_, &status), "cuStreamIsCapturing");
    if (status == CU_STREAM_CAPTURE_STATUS_ACTIVE) begun_.order(beside_, compute_);
  });
}

CudaPeers::CudaPeers(std::unique_ptr<DeviceCommunicator> inner, Recorder& recorder, const Stream& compute)
    : communicator_(std::move(inner), recorder, compute), compute_(compute) {
  device().set_release([this] {
    for (StepGraph* graph : graphs_) graph->drop();
  });
}

void CudaPeers::cancel() {
  communicator_.forget();
  try {
    if (compute_.is_done()) return;
    // A step that ended early: what its peers no longer answer would be waited for without end.
    device().abort("a step ended before its exchanges");
    device().end();
    compute_.wait();
  } catch (const EngineError&) {
    // The card has failed: nothing runs on it any more, and the step's own error says so.
  }
}

size_t CudaPeers::bytes() const {
  size_t bytes = 0;
  for (const ArenaHandle& handle : handles()) bytes += handle.bytes;
  return bytes;
}

}  // namespace merak::cuda
