// NCCL behind the engine's communicator. Collectives run on a stream of their own that waits for the caller's and that the caller's waits
// for; each channel of messages is a communicator of two ranks with a stream of its own, so that no message waits for another channel's.
//
// NCCL itself waits for a silent peer for ever. So every rank publishes in shared memory which calls it has made; while anything is waited
// for, `check` looks at NCCL's asynchronous errors, at the peers' processes and at the clock, aborts what is on the device and names who is
// absent. A CUDA graph may hold the calls (nccl_capture.cpp): on all ranks, or on none. Unique ids travel as names of arenas: with the handles that the coordinator passes from worker to worker.
#pragma once
#include <deque>  // messages that wait for their channel
#include <map>    // groups, channels

#include "comm/device_communicator.h"  // DeviceCommunicator
#include "comm/shm.h"                  // ShmCommunicator
#include "cuda/device.h"               // Device
#include "cuda/nccl_comm.h"            // NcclComm

namespace merak {

class NcclCommunicator : public DeviceCommunicator {
 public:
  NcclCommunicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups);
  ~NcclCommunicator() override;

  int rank() const override { return shm_.rank(); }
  void set_stream(void* stream) override { stream_ = static_cast<cuda::CUstream>(stream); }
  bool enqueues_only() override { return true; }
  bool agree(bool yes) override;
  CapturedExchanges capture(const std::function<void()>& work) override;
  void launches(const CapturedExchanges& exchanges) override;
  void set_release(std::function<void()> release) override { release_ = std::move(release); }
  void end() override;
  void check() override;
  bool has_sent() const override;
  std::vector<ArenaHandle> handles() const override;
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) override;

  // Sums are in NCCL's order, the same on every rank; inputs are multiplied by `scale` before they are added.
  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override;
  void all_gather(int group, const void* input, void* output, size_t bytes) override;
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override;
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override;
  void start(const void* key, std::function<void(Communicator&)> call) override;
  void finish(const void* key) override;
  void broadcast(int group, void* data, size_t bytes, int root_index) override;
  // Waits on the host.
  void barrier(int group) override;
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override;
  void wait_sent(int peer, int tag, uint64_t ticket) override;
  void receive(int peer, int tag, void* data, size_t bytes) override;
  void set_timeout(double seconds) override;
  void abort(const std::string& reason) override;
  double take_wait_seconds() override { return shm_.take_wait_seconds(); }

 private:
  struct Group {
    GroupSpec spec;
    int index = 0;  // of this rank
    cuda::ncclUniqueId id{};
    bool has_id = false;
    std::unique_ptr<cuda::NcclComm> comm;
    std::map<float, cuda::ncclRedOp_t> scaled;  // sums of multiplied inputs
    uint32_t sequence = 0;
  };
  struct Message {
    const void* data;
    size_t bytes;
    size_t event;  // of `events`
  };
  struct Channel {
    std::unique_ptr<cuda::NcclComm> comm;
    cuda::CUstream stream = nullptr;
    std::vector<cuda::CUevent> events;  // ring: the data is there; then, the message is taken
    std::deque<Message> queued;         // posted before the channel was ready
    uint64_t tickets = 0, settled = 0;  // posted; left before this step
  };
  using Key = std::tuple<int, int, int>;  // from, to, tag

  Group& group(int id);
  // The operation that multiplies by `scale` and sums, made once per communicator.
  static cuda::ncclResult_t find_sum(Group& group, float scale, cuda::ncclComm_t comm, cuda::ncclRedOp_t& op);
  // What is waited for from now on; `group` null for a message, and then `peer`.
  void begin(const char* operation, const Group* group, int peer);
  // Enqueues a collective; what it needs of the caller's stream is waited for, and the caller's stream waits for it.
  void collective(Group& group, const char* name, const std::function<cuda::ncclResult_t(cuda::ncclComm_t, cuda::CUstream)>& enqueue);
  Channel& channel(int from, int to, int tag);
  void post(Channel& channel, const Message& message);
  // Sends what waits for channels that have become ready.
  void post_queued();
  void order(cuda::CUevent event, cuda::CUstream before, cuda::CUstream after);
  std::byte* scratch(size_t bytes);
  void copy_chunks(const void* from, size_t from_pitch, void* to, size_t to_pitch, size_t width, size_t height);
  // In a capture: what is not joined yet can take no call.
  void expect_joined(cuda::NcclComm* comm) const;
  // Lets the caller's stream come after `stream` where a capture holds it.
  void join(cuda::CUstream stream);
  // Throws when a peer is gone, the time is up or somebody aborted.
  void watch();
  [[noreturn]] void fail(const char* code, int absent, const std::string& why);
  int find_absent() const;

  cuda::Device& device_;
  mutable ShmCommunicator shm_;
  std::map<int, Group> groups_;
  std::map<Key, Channel> channels_;
  std::shared_ptr<Arena> progress_, ids_;
  std::map<int, std::shared_ptr<Arena>> peers_;  // their progress
  cuda::CUstream stream_ = nullptr, own_stream_ = nullptr;
  cuda::CUevent ready_ = nullptr, done_ = nullptr;
  std::map<const void*, cuda::CUevent> started_;
  bool is_starting_ = false;
  std::vector<cuda::CUdeviceptr> scratches_;  // the last is in use; graphs may know the others
  size_t scratch_bytes_ = 0;
  const char* operation_ = nullptr;  // last enqueued
  const Group* operation_group_ = nullptr;
  int operation_peer_ = -1;
  bool is_capturing_ = false, is_launched_ = false;  // the step under way: recorded; one graph
  CapturedExchanges captured_;
  uint32_t num_votes_ = 0;
  std::function<void()> release_;
  double timeout_seconds_ = 100, waiting_since_ = 0;
  std::mutex abort_mutex_;
  std::string abort_reason_;
  std::atomic<bool> is_aborted_{false};
};

}  // namespace merak
