// The communicator that all ranks of a plan on GPUs agree on: NCCL where every rank has a card of its own and finds the library, else
// staged through the host. No rank can know that alone: each says with its handles which card it has and whether it finds NCCL, and all decide by
// the same list, when the first exchange is due. Until then both are there, at the cost of some streams and untouched shared memory.
#pragma once
#include <map>  // what peers said

#include "comm/gpu/nccl_communicator.h"  // NcclCommunicator
#include "comm/gpu/staged_device.h"      // StagedDeviceCommunicator

namespace merak {

class AgreedCommunicator : public DeviceCommunicator {
 public:
  AgreedCommunicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups);

  int rank() const override { return rank_; }
  void set_stream(void* stream) override {
    stream_ = stream;
    if (chosen_) chosen_->set_stream(stream);
  }
  bool enqueues_only() override { return chosen().enqueues_only(); }
  bool agree(bool yes) override { return chosen().agree(yes); }
  CapturedExchanges capture(const std::function<void()>& work) override { return chosen().capture(work); }
  void launches(const CapturedExchanges& exchanges) override { chosen().launches(exchanges); }
  void set_release(std::function<void()> release) override {
    if (nccl_) nccl_->set_release(std::move(release));
  }
  void end() override {
    if (chosen_) chosen_->end();
  }
  void check() override { chosen().check(); }
  bool has_sent() const override { return !chosen_ || chosen_->has_sent(); }
  std::vector<ArenaHandle> handles() const override;
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) override;

  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override { chosen().all_reduce(group, data, count, op, scale); }
  void all_gather(int group, const void* input, void* output, size_t bytes) override { chosen().all_gather(group, input, output, bytes); }
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override {
    chosen().all_gather_into(group, input, output, outer, chunk_bytes);
  }
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override {
    chosen().reduce_scatter(group, input, output, outer, chunk, scale);
  }
  void start(const void* key, std::function<void(Communicator&)> call) override { chosen().start(key, std::move(call)); }
  void finish(const void* key) override { chosen().finish(key); }
  void broadcast(int group, void* data, size_t bytes, int root_index) override { chosen().broadcast(group, data, bytes, root_index); }
  void barrier(int group) override { chosen().barrier(group); }
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override { return chosen().send(peer, tag, data, bytes); }
  void wait_sent(int peer, int tag, uint64_t ticket) override { chosen().wait_sent(peer, tag, ticket); }
  void receive(int peer, int tag, void* data, size_t bytes) override { chosen().receive(peer, tag, data, bytes); }
  void set_timeout(double seconds) override { chosen().set_timeout(seconds); }
  // Called from any thread, also before anything is chosen.
  void abort(const std::string& reason) override;
  double take_wait_seconds() override { return chosen().take_wait_seconds(); }

 private:
  DeviceCommunicator& chosen();

  const int rank_, world_size_;
  StagedDeviceCommunicator staged_;
  std::unique_ptr<NcclCommunicator> nccl_;  // null where the library is not found
  std::string card_;                        // this rank's, and whether it finds NCCL
  std::map<int, std::string> peers_;        // the same of theirs
  DeviceCommunicator* chosen_ = nullptr;
  void* stream_ = nullptr;
};

}  // namespace merak
