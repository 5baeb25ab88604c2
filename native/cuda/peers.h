// The ranks of a plan on CUDA devices: collectives on the stream that computes, or beside it on one of their own.
#pragma once
#include <set>            // graphs
#include <unordered_map>  // what was started

#include "comm/device_communicator.h"  // DeviceCommunicator
#include "cuda/stream.h"               // Stream, Event
#include "engine/backend.h"            // Peers

namespace merak::cuda {

// Direct calls are ordered by the compute stream. What is started runs on the communication stream after what was computed before it;
// finish makes the compute stream wait for it.
class StreamCommunicator : public Communicator {
 public:
  StreamCommunicator(std::unique_ptr<DeviceCommunicator> inner, Recorder& recorder, CUstream compute);

  DeviceCommunicator& inner() { return *inner_; }
  // Like the inner one's, joined with the stream of what was started too.
  CapturedExchanges capture(const std::function<void()>& work);
  // Forgets what was started.
  void forget() { started_.clear(); }

  int rank() const override { return inner_->rank(); }
  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override { noted_.all_reduce(group, data, count, op, scale); }
  void all_gather(int group, const void* input, void* output, size_t bytes) override { noted_.all_gather(group, input, output, bytes); }
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override {
    noted_.all_gather_into(group, input, output, outer, chunk_bytes);
  }
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override {
    noted_.reduce_scatter(group, input, output, outer, chunk, scale);
  }
  void start(const void* key, std::function<void(Communicator&)> call) override;
  void finish(const void* key) override;
  void broadcast(int group, void* data, size_t bytes, int root_index) override { noted_.broadcast(group, data, bytes, root_index); }
  void barrier(int group) override { noted_.barrier(group); }
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override { return noted_.send(peer, tag, data, bytes); }
  void wait_sent(int peer, int tag, uint64_t ticket) override { noted_.wait_sent(peer, tag, ticket); }
  void receive(int peer, int tag, void* data, size_t bytes) override { noted_.receive(peer, tag, data, bytes); }
  void set_timeout(double seconds) override { inner_->set_timeout(seconds); }
  void abort(const std::string& reason) override { inner_->abort(reason); }
  double take_wait_seconds() override { return inner_->take_wait_seconds(); }

 private:
  std::unique_ptr<DeviceCommunicator> inner_;
  RecordingCommunicator noted_;
  CUstream compute_;
  Stream beside_;
  Event begun_;
  std::unordered_map<const void*, std::unique_ptr<Event>> started_;
};

class StepGraph;

class CudaPeers : public Peers {
 public:
  CudaPeers(std::unique_ptr<DeviceCommunicator> inner, Recorder& recorder, const Stream& compute);

  Communicator& communicator() override { return communicator_; }
  CapturedExchanges capture(const std::function<void()>& work) { return communicator_.capture(work); }
  // Graphs that hold exchanges are dropped before NCCL's communicators end; they say when they come and go.
  void add(StepGraph& graph) { graphs_.insert(&graph); }
  void remove(StepGraph& graph) { graphs_.erase(&graph); }
  DeviceCommunicator& device() { return communicator_.inner(); }
  std::vector<ArenaHandle> handles() const override { return const_cast<CudaPeers*>(this)->device().handles(); }
  void add(const std::string&, const Memory&) override {}  // peers reach nothing of the card's memory
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) override { device().connect(rank, arena, pid, fd, bytes); }
  void cancel() override;
  size_t bytes() const override;

 private:
  StreamCommunicator communicator_;
  const Stream& compute_;
  std::set<StepGraph*> graphs_;
};

}  // namespace merak::cuda
