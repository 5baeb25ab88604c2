// NCCL's calls in CUDA graphs. NCCL asks that a call be captured on all ranks it joins or on none, and that all launch the graph it is in
// (docs.nvidia.com, "Using NCCL with CUDA Graphs"), so ranks vote.
#include <time.h>  // nanosleep

#include <cstdio>  // fprintf

#include "comm/gpu/nccl_communicator.h"
#include "comm/gpu/nccl_progress.h"  // NcclProgress
#include "engine/error.h"            // EngineError

namespace merak {

using namespace cuda;

bool NcclCommunicator::agree(bool yes) {
  const std::string problem = nccl_graph_problem(nccl().version);
  if (yes && !problem.empty())
    std::fprintf(stderr, "merak: NCCL %s %s: steps with its calls are not captured as a CUDA graph\n", nccl_version_text(nccl().version).c_str(), problem.c_str());
  yes = yes && problem.empty();
  const uint32_t number = ++num_votes_;
  progress_of(*progress_).words[number & 1].store(2 * number + (yes ? 1 : 0));
  for (const auto& [peer, arena] : peers_) {
    begin("the vote on a CUDA graph", nullptr, peer);
    // Nobody is two votes ahead: each needs this rank's word.
    const std::atomic<uint32_t>& word = progress_of(*arena).words[number & 1];
    while (word.load() / 2 != number) {
      watch();
      const timespec moment{0, 50000};
      nanosleep(&moment, nullptr);
    }
    yes = yes && word.load() % 2 == 1;
  }
  return yes;
}

CapturedExchanges NcclCommunicator::capture(const std::function<void()>& work) {
  device_.make_current();
  struct Scope {
    bool& is;
    explicit Scope(bool& flag) : is(flag) { is = true; }
    ~Scope() { is = false; }
  } scope{is_capturing_};
  captured_ = {};
  operation_ = nullptr;
  work();
  join(own_stream_);
  for (auto& [key, channel] : channels_) join(channel.stream);
  captured_.operation = operation_;
  captured_.group = operation_group_ ? operation_group_->spec.id : -1;
  captured_.peer = operation_peer_;
  return captured_;
}

void NcclCommunicator::launches(const CapturedExchanges& exchanges) {
  if (!exchanges.operation) return;
  for (const auto& [id, count] : exchanges.collectives) {
    Group& called = group(id);
    called.sequence += count;
    progress_of(*progress_).calls[id].store(called.sequence);
  }
  begin(exchanges.operation, exchanges.group < 0 ? nullptr : &group(exchanges.group), exchanges.peer);
  is_launched_ = true;
}

void NcclCommunicator::expect_joined(NcclComm* comm) const {
  if (!comm || !comm->is_ready()) throw EngineError("engine/cuda", "a communicator of this step is still being made");
}

void NcclCommunicator::join(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (stream) cuda::check(driver().cuStreamIsCapturing(stream, &status), "cuStreamIsCapturing");
  if (status == CU_STREAM_CAPTURE_STATUS_ACTIVE) order(done_, stream, stream_);
}

}  // namespace merak
