// Collectives on device memory through the host's: for ranks that share a GPU, which NCCL refuses, and where NCCL is not there. Every
// call waits for the stream, copies, exchanges through shared memory and copies back; sums are those of the CPU engine to the bit.
#pragma once
#include "comm/device_communicator.h"  // DeviceCommunicator
#include "comm/staged.h"               // StagedCommunicator
#include "cuda/device.h"               // Device

namespace merak {

class StagedDeviceCommunicator : public DeviceCommunicator {
 public:
  StagedDeviceCommunicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups);

  int rank() const override { return host_.shm().rank(); }
  void set_stream(void* stream) override { stream_ = static_cast<cuda::CUstream>(stream); }
  bool enqueues_only() override { return false; }
  std::vector<ArenaHandle> handles() const override;
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) override;

  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override;
  void all_gather(int group, const void* input, void* output, size_t bytes) override;
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override;
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override;
  void broadcast(int group, void* data, size_t bytes, int root_index) override;
  void barrier(int group) override;
  // The message is copied before the call returns.
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override;
  void wait_sent(int, int, uint64_t) override {}
  void receive(int peer, int tag, void* data, size_t bytes) override;
  void set_timeout(double seconds) override { host_.shm().set_timeout(seconds); }
  void abort(const std::string& reason) override { host_.shm().abort(reason); }
  double take_wait_seconds() override { return host_.shm().take_wait_seconds(); }

 private:
  using Buffer = StagedCommunicator::Buffer;

  size_t size_of(int group) const;
  size_t index_in(int group) const;
  // Device memory to the host once the stream has come this far, and back at once.
  void fetch(void* to, const void* from, size_t bytes);
  void put(void* to, const void* from, size_t bytes);

  cuda::Device& device_;
  std::vector<GroupSpec> groups_;
  mutable StagedCommunicator host_;
  cuda::CUstream stream_ = nullptr;
  Buffer buffer_;
};

}  // namespace merak
