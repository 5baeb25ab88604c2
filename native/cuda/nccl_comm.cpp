// Joining, calling and aborting.
#include "cuda/nccl_comm.h"

#include <time.h>  // nanosleep

#include "comm/communicator.h"  // CommError
#include "engine/error.h"       // EngineError

namespace merak::cuda {

ncclUniqueId make_nccl_id() {
  ncclUniqueId id;
  check(nccl().ncclGetUniqueId(&id), "ncclGetUniqueId");
  return id;
}

NcclComm::NcclComm(int num_ranks, const ncclUniqueId& id, int rank, int max_ctas) {
  ncclConfig_t config;
  config.blocking = 0;
  config.maxCTAs = max_ctas;
  check(nccl().ncclCommInitRankConfig(&comm_, num_ranks, id, rank, &config), "ncclCommInitRankConfig");
}

NcclComm::~NcclComm() { abort(); }

ncclResult_t NcclComm::async_error() {
  const std::lock_guard lock(mutex_);
  if (!comm_) throw CommError("comm/aborted", -1, "the NCCL communicator was aborted");
  ncclResult_t state = ncclSuccess;
  check(nccl().ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError", comm_);
  return state;
}

bool NcclComm::is_ready() {
  const ncclResult_t state = async_error();
  if (state == ncclInProgress) return false;
  const std::lock_guard lock(mutex_);
  check(state, "joining", comm_);
  return true;
}

void NcclComm::wait(const char* name, const Idle& idle) {
  for (;;) {
    const ncclResult_t state = async_error();
    if (state != ncclInProgress) {
      const std::lock_guard lock(mutex_);
      check(state, name, comm_);
      return;
    }
    idle();
    const timespec moment{0, 50000};
    nanosleep(&moment, nullptr);
  }
}

void NcclComm::call(const char* name, const std::function<ncclResult_t(ncclComm_t)>& enqueue, const Idle& idle) {
  wait("joining", idle);
  {
    const std::lock_guard lock(mutex_);
    if (!comm_) throw CommError("comm/aborted", -1, "the NCCL communicator was aborted");
    check(nccl().ncclGroupStart(), "ncclGroupStart");
    const ncclResult_t result = enqueue(comm_);
    // A group that was begun has to be ended.
    const ncclResult_t ended = nccl().ncclGroupEnd();
    check(result, name, comm_);
    check(ended, name, comm_);
  }
  wait(name, idle);
}

void NcclComm::abort() {
  const std::lock_guard lock(mutex_);
  if (comm_) nccl().ncclCommAbort(comm_);
  comm_ = nullptr;
}

}  // namespace merak::cuda
