// One NCCL communicator, non-blocking: no call of it can hang.
#pragma once
#include <functional>  // calls
#include <mutex>       // abort from anywhere

#include "cuda/nccl.h"  // ncclComm_t

namespace merak::cuda {

ncclUniqueId make_nccl_id();

// Made on a thread whose context is current. One thread makes the calls; abort may come from anywhere.
class NcclComm {
 public:
  // Called again and again while something is waited for; throws to end the wait.
  using Idle = std::function<void()>;

  // Begins to join; the others are waited for by the first call. `max_ctas`: how many channels it may use; as many as NCCL likes.
  NcclComm(int num_ranks, const ncclUniqueId& id, int rank, int max_ctas = INT_MIN);
  // Aborts what is under way: whoever wants it done has synchronised before.
  ~NcclComm();
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  // True once every rank has joined. Throws EngineError 'engine/cuda' with NCCL's words when one cannot.
  bool is_ready();
  // `enqueue` calls NCCL, as often as it likes, as one group; `name` is for messages.
  void call(const char* name, const std::function<ncclResult_t(ncclComm_t)>& enqueue, const Idle& idle);
  // The error of what is under way; ncclSuccess or ncclInProgress where there is none.
  ncclResult_t async_error();
  // Ends what is under way on the device, here; the communicator is dead afterwards. The peers are not told.
  void abort();

 private:
  void wait(const char* name, const Idle& idle);

  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace merak::cuda
