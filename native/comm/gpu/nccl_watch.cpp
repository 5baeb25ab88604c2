// What watches NCCL's exchanges: asynchronous errors, peers that are gone, the clock; who is absent; aborting.
#include <cstdio>  // snprintf
#include <thread>  // ending communicators

#include "comm/gpu/nccl_communicator.h"
#include "comm/gpu/nccl_progress.h"  // NcclProgress

namespace merak {

using namespace cuda;

namespace {

std::string in_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", seconds);
  return text;
}

}  // namespace

std::string name_of_id(int group, const ncclUniqueId& id) {
  std::string name = "nccl/" + std::to_string(group) + "/";
  for (unsigned char byte : id.internal) {
    name += "0123456789abcdef"[byte >> 4];
    name += "0123456789abcdef"[byte & 15];
  }
  return name;
}

bool id_of_name(const std::string& name, int& group, ncclUniqueId& id) {
  const size_t slash = name.rfind('/');
  if (name.rfind("nccl/", 0) != 0 || slash < 6 || name.size() - slash - 1 != 2 * sizeof id.internal) return false;
  group = std::stoi(name.substr(5, slash - 5));
  for (size_t i = 0; i < sizeof id.internal; i++) id.internal[i] = static_cast<char>(std::stoi(name.substr(slash + 1 + 2 * i, 2), nullptr, 16));
  return true;
}

void NcclCommunicator::set_timeout(double seconds) {
  timeout_seconds_ = seconds;
  shm_.set_timeout(seconds);
  waiting_since_ = seconds_now();
  is_launched_ = false;
  for (auto& [key, channel] : channels_) channel.settled = channel.tickets;
  progress_of(*progress_).steps.fetch_add(1);
}

void NcclCommunicator::abort(const std::string& reason) {
  {
    const std::lock_guard lock(abort_mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
  }
  is_aborted_ = true;
  shm_.abort(reason);
}

int NcclCommunicator::find_absent() const {
  // Who has not made the call that this rank made last; else who is behind by a step.
  for (const auto& [peer, arena] : peers_) {
    const NcclProgress& theirs = progress_of(*arena);
    if (operation_group_) {
      const GroupSpec& spec = operation_group_->spec;
      for (int member : spec.ranks)
        if (member == peer && static_cast<int32_t>(theirs.calls[spec.id].load() - operation_group_->sequence) < 0) return peer;
    } else if (peer == operation_peer_) {
      return peer;
    }
  }
  for (const auto& [peer, arena] : peers_)
    if (progress_of(*arena).steps.load() < progress_of(*progress_).steps.load()) return peer;
  return -1;
}

void NcclCommunicator::fail(const char* code, int absent, const std::string& why) {
  // What is on the device would wait for ever, and with it whoever synchronises. A capture has nothing there, and a graph to be rid of first.
  if (!is_capturing_) end();
  std::string text = "rank " + std::to_string(rank()) + " waits for " + (absent < 0 ? "its peers" : "rank " + std::to_string(absent)) + " in " + (operation_ ? operation_ : "nothing");
  if (operation_group_) text += " of " + describe_group(operation_group_->spec) + ", sequence number " + std::to_string(operation_group_->sequence);
  throw CommError(code, absent, text + ": " + why);
}

void NcclCommunicator::end() {
  // All at once: one may end only when a graph has ended that waits in the calls of another.
  std::vector<std::thread> threads;
  const auto abort = [&](cuda::NcclComm* comm) {
    if (comm) threads.emplace_back([comm] { comm->abort(); });
  };
  for (auto& [id, group] : groups_) abort(group.comm.get());
  for (auto& [key, channel] : channels_) abort(channel.comm.get());
  if (release_) release_();
  for (std::thread& thread : threads) thread.join();
}

void NcclCommunicator::watch() {
  if (is_aborted_) {
    std::string reason;
    {
      const std::lock_guard lock(abort_mutex_);
      reason = abort_reason_;
    }
    fail("comm/aborted", find_absent(), "aborted: " + reason);
  }
  for (const auto& [peer, arena] : peers_)
    if (shm_.has_ended(peer)) fail("comm/peer-lost", peer, "its process has ended");
  if (seconds_now() - waiting_since_ > timeout_seconds_) fail("comm/timeout", find_absent(), "no answer within " + in_seconds(timeout_seconds_));
}

void NcclCommunicator::check() {
  device_.make_current();
  post_queued();
  for (auto& [id, group] : groups_) {
    const ncclResult_t error = group.comm ? group.comm->async_error() : ncclSuccess;
    if (error != ncclSuccess && error != ncclInProgress) fail("comm/peer-lost", find_absent(), std::string("NCCL: ") + nccl().ncclGetErrorString(error));
  }
  // A graph does not say where it is.
  bool is_busy = driver().cuStreamQuery(is_launched_ ? stream_ : own_stream_) == CUDA_ERROR_NOT_READY;
  for (auto& [key, channel] : channels_) {
    const ncclResult_t error = channel.comm ? channel.comm->async_error() : ncclSuccess;
    if (error != ncclSuccess && error != ncclInProgress)
      fail("comm/peer-lost", operation_peer_, std::string("NCCL: ") + nccl().ncclGetErrorString(error));
    const bool is_sending = channel.stream && driver().cuStreamQuery(channel.stream) == CUDA_ERROR_NOT_READY;
    is_busy = is_busy || is_sending || !channel.queued.empty();
  }
  // Computation may take as long as it likes.
  if (!is_busy) waiting_since_ = seconds_now();
  watch();
}

}  // namespace merak
