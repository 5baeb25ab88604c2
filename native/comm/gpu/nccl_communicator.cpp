// Streams, events and calls of NCCL; what watches them is in nccl_watch.cpp, what a CUDA graph asks of them in nccl_capture.cpp.
#include "comm/gpu/nccl_communicator.h"

#include <algorithm>  // find, all_of

#include "comm/gpu/nccl_ctas.h"      // how large communicators may be
#include "comm/gpu/nccl_progress.h"  // NcclProgress, ids as text

namespace merak {

using namespace cuda;

namespace {

constexpr size_t kEvents = 64;  // messages of a channel whose slots are not yet waited for

CUdeviceptr address(const void* data) { return reinterpret_cast<CUdeviceptr>(data); }

}  // namespace

NcclCommunicator::NcclCommunicator(Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups)
    : device_(device), shm_(rank, world_size, groups) {
  device_.make_current();
  for (const GroupSpec& spec : groups) {
    const auto self = std::find(spec.ranks.begin(), spec.ranks.end(), rank);
    if (self == spec.ranks.end()) continue;
    Group& group = groups_[spec.id];
    group.spec = spec;
    group.index = static_cast<int>(self - spec.ranks.begin());
    if (group.index == 0) {
      group.id = make_nccl_id();
      group.has_id = true;
    }
  }
  progress_ = Arena::create("progress-" + std::to_string(rank), sizeof(NcclProgress));
  ids_ = Arena::create("ids-" + std::to_string(rank), sizeof(ncclUniqueId) * kMaxRanks * kNumTags);
  shm_.add_arena("ids", ids_);
  cuda::check(driver().cuStreamCreate(&own_stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  cuda::check(driver().cuEventCreate(&ready_, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  cuda::check(driver().cuEventCreate(&done_, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
}

NcclCommunicator::~NcclCommunicator() {
  // Dead communicators leave nothing on the streams that could wait.
  for (auto& [id, group] : groups_) group.comm.reset();
  for (auto& [key, channel] : channels_) channel.comm.reset();
  device_.make_current();
  for (auto& [key, channel] : channels_) {
    for (CUevent event : channel.events) driver().cuEventDestroy(event);
    if (channel.stream) driver().cuStreamDestroy(channel.stream);
  }
  for (auto& [key, event] : started_) driver().cuEventDestroy(event);
  driver().cuEventDestroy(ready_);
  driver().cuEventDestroy(done_);
  driver().cuStreamDestroy(own_stream_);
  for (CUdeviceptr memory : scratches_) driver().cuMemFree(memory);
}

std::vector<ArenaHandle> NcclCommunicator::handles() const {
  const Arena& control = *shm_.control();
  std::vector<ArenaHandle> handles = {{"control", control.fd(), control.bytes()},
                                      {"progress", progress_->fd(), progress_->bytes()},
                                      {"ids", ids_->fd(), ids_->bytes()}};
  for (const auto& [id, group] : groups_)
    if (group.index == 0) handles.push_back({name_of_id(id, group.id), control.fd(), control.bytes()});
  return handles;
}

void NcclCommunicator::connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) {
  int group_id = -1;
  ncclUniqueId id;
  if (id_of_name(arena, group_id, id)) {
    const auto found = groups_.find(group_id);
    if (found == groups_.end() || found->second.spec.ranks.front() != rank) return;
    found->second.id = id;
    found->second.has_id = true;
  } else if (arena == "progress") {
    peers_[rank] = Arena::open_peer(pid, fd, bytes);
  } else {
    shm_.add_peer_arena(rank, arena, pid, fd, bytes);
  }
}

NcclCommunicator::Group& NcclCommunicator::group(int id) {
  const auto found = groups_.find(id);
  if (found == groups_.end()) throw std::runtime_error("rank " + std::to_string(rank()) + " is not in group " + std::to_string(id));
  return found->second;
}

void NcclCommunicator::order(CUevent event, CUstream before, CUstream after) {
  cuda::check(driver().cuEventRecord(event, before), "cuEventRecord");
  cuda::check(driver().cuStreamWaitEvent(after, event, 0), "cuStreamWaitEvent");
}

ncclResult_t NcclCommunicator::find_sum(Group& group, float scale, ncclComm_t comm, ncclRedOp_t& op) {
  op = ncclSum;
  if (scale == 1.0f) return ncclSuccess;
  const auto found = group.scaled.find(scale);
  if (found != group.scaled.end()) {
    op = found->second;
    return ncclSuccess;
  }
  const ncclResult_t made = nccl().ncclRedOpCreatePreMulSum(&op, &scale, ncclFloat32, ncclScalarHostImmediate, comm);
  if (made == ncclSuccess) group.scaled[scale] = op;
  return made;
}

void NcclCommunicator::begin(const char* operation, const Group* group, int peer) {
  operation_ = operation;
  operation_group_ = group;
  operation_peer_ = peer;
  waiting_since_ = seconds_now();
}

void NcclCommunicator::collective(Group& group, const char* name, const std::function<ncclResult_t(ncclComm_t, CUstream)>& enqueue) {
  device_.make_current();
  begin(name, &group, -1);
  if (is_capturing_) {
    expect_joined(group.comm.get());
    captured_.collectives[group.spec.id]++;
  } else {
    progress_of(*progress_).calls[group.spec.id].store(++group.sequence);
  }
  if (!group.comm) {
    if (!group.has_id) throw CommError("comm/peer-lost", group.spec.ranks.front(), "rank " + std::to_string(group.spec.ranks.front()) + " was never connected");
    const int ctas = group.spec.axis == "world" ? kWorldCtas : kGroupCtas;
    group.comm = std::make_unique<NcclComm>(static_cast<int>(group.spec.ranks.size()), group.id, group.index, ctas);
  }
  order(ready_, stream_, own_stream_);
  group.comm->call(name, [&](ncclComm_t comm) { return enqueue(comm, own_stream_); }, [this] { watch(); });
  if (!is_starting_) order(done_, own_stream_, stream_);
}

void NcclCommunicator::all_reduce(int id, float* data, size_t count, ReduceOp op, float scale) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1 && (scale == 1.0f || op == ReduceOp::max)) return;
  collective(g, "all-reduce", [&](ncclComm_t comm, CUstream stream) {
    ncclRedOp_t reduction = ncclMax;
    if (op == ReduceOp::sum)
      if (const ncclResult_t found = find_sum(g, scale, comm, reduction)) return found;
    return nccl().ncclAllReduce(data, data, count, ncclFloat32, reduction, comm, stream);
  });
}

void NcclCommunicator::all_gather(int id, const void* input, void* output, size_t bytes) {
  collective(group(id), "all-gather",
             [&](ncclComm_t comm, CUstream stream) { return nccl().ncclAllGather(input, output, bytes, ncclUint8, comm, stream); });
}

std::byte* NcclCommunicator::scratch(size_t bytes) {
  if (bytes > scratch_bytes_) {
    device_.make_current();
    CUdeviceptr memory = 0;
    cuda::check(driver().cuMemAlloc(&memory, bytes), "cuMemAlloc");
    scratches_.push_back(memory);
    scratch_bytes_ = bytes;
  }
  return reinterpret_cast<std::byte*>(scratches_.back());
}

void NcclCommunicator::copy_chunks(const void* from, size_t from_pitch, void* to, size_t to_pitch, size_t width, size_t height) {
  CUDA_MEMCPY2D copy;
  copy.srcDevice = address(from);
  copy.srcPitch = from_pitch;
  copy.dstDevice = address(to);
  copy.dstPitch = to_pitch;
  copy.WidthInBytes = width;
  copy.Height = height;
  cuda::check(driver().cuMemcpy2DAsync(&copy, own_stream_), "cuMemcpy2DAsync");
}

void NcclCommunicator::all_gather_into(int id, const void* input, void* output, size_t outer, size_t chunk) {
  if (outer == 1) return all_gather(id, input, output, chunk);
  Group& g = group(id);
  const size_t num_ranks = g.spec.ranks.size(), bytes = outer * chunk;
  std::byte* parts = scratch(num_ranks * bytes);
  const bool was_starting = is_starting_;
  is_starting_ = true;  // the caller's stream is to wait for the copies too
  collective(g, "all-gather", [&](ncclComm_t comm, CUstream stream) { return nccl().ncclAllGather(input, parts, bytes, ncclUint8, comm, stream); });
  is_starting_ = was_starting;
  for (size_t i = 0; i < num_ranks; i++)
    copy_chunks(parts + i * bytes, chunk, static_cast<std::byte*>(output) + i * chunk, num_ranks * chunk, chunk, outer);
  if (!is_starting_) order(done_, own_stream_, stream_);
}

void NcclCommunicator::reduce_scatter(int id, const float* input, float* output, size_t outer, size_t chunk, float scale) {
  Group& g = group(id);
  const size_t num_ranks = g.spec.ranks.size(), count = outer * chunk;
  device_.make_current();
  const float* pieces = input;
  if (outer != 1) {
    auto* packed = reinterpret_cast<float*>(scratch(num_ranks * count * sizeof(float)));
    order(ready_, stream_, own_stream_);
    for (size_t i = 0; i < num_ranks; i++)
      copy_chunks(input + i * chunk, num_ranks * chunk * sizeof(float), packed + i * count, chunk * sizeof(float), chunk * sizeof(float), outer);
    pieces = packed;
  }
  collective(g, "reduce-scatter", [&](ncclComm_t comm, CUstream stream) {
    ncclRedOp_t reduction = ncclSum;
    if (const ncclResult_t found = find_sum(g, scale, comm, reduction)) return found;
    return nccl().ncclReduceScatter(pieces, output, count, ncclFloat32, reduction, comm, stream);
  });
}

void NcclCommunicator::broadcast(int id, void* data, size_t bytes, int root_index) {
  Group& g = group(id);
  if (g.spec.ranks.size() == 1) return;
  collective(g, "broadcast",
             [&](ncclComm_t comm, CUstream stream) { return nccl().ncclBroadcast(data, data, bytes, ncclUint8, root_index, comm, stream); });
}

void NcclCommunicator::barrier(int group) {
  device_.make_current();
  cuda::check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
  shm_.barrier(group);
}

void NcclCommunicator::start(const void* key, std::function<void(Communicator&)> call) {
  device_.make_current();
  is_starting_ = true;
  try {
    call(*this);
  } catch (...) {
    is_starting_ = false;
    throw;
  }
  is_starting_ = false;
  CUevent& event = started_[key];
  if (!event) cuda::check(driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  cuda::check(driver().cuEventRecord(event, own_stream_), "cuEventRecord");
}

void NcclCommunicator::finish(const void* key) {
  const auto found = started_.find(key);
  if (found != started_.end()) cuda::check(driver().cuStreamWaitEvent(stream_, found->second, 0), "cuStreamWaitEvent");
}

NcclCommunicator::Channel& NcclCommunicator::channel(int from, int to, int tag) {
  Channel& channel = channels_[{from, to, tag}];
  if (is_capturing_) expect_joined(channel.comm.get());
  if (channel.comm) return channel;
  device_.make_current();
  // The sender makes the id; the receiver gets it with its first message, so it may have to wait for the sender here.
  const int peer = from == rank() ? to : from;
  auto* id = reinterpret_cast<ncclUniqueId*>(ids_->data()) + static_cast<size_t>(peer) * kNumTags + static_cast<size_t>(tag);
  ncclUniqueId used;
  if (from == rank()) {
    used = *id = make_nccl_id();
    shm_.send(to, tag, id, sizeof *id);
  } else {
    shm_.receive(from, tag, &used, sizeof used);
  }
  cuda::check(driver().cuStreamCreate(&channel.stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  channel.events.resize(kEvents);
  for (CUevent& event : channel.events) cuda::check(driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  channel.comm = std::make_unique<NcclComm>(2, used, from == rank() ? 0 : 1, kMessageCtas);
  return channel;
}

void NcclCommunicator::post(Channel& channel, const Message& message) {
  CUevent event = channel.events[message.event];
  cuda::check(driver().cuStreamWaitEvent(channel.stream, event, 0), "cuStreamWaitEvent");
  channel.comm->call("send", [&](ncclComm_t comm) { return nccl().ncclSend(message.data, message.bytes, ncclUint8, 1, comm, channel.stream); },
                     [this] { watch(); });
  cuda::check(driver().cuEventRecord(event, channel.stream), "cuEventRecord");
}

void NcclCommunicator::post_queued() {
  for (auto& [key, channel] : channels_)
    while (!channel.queued.empty() && channel.comm->is_ready()) {
      post(channel, channel.queued.front());
      channel.queued.pop_front();
    }
}

bool NcclCommunicator::has_sent() const {
  return std::all_of(channels_.begin(), channels_.end(), [](const auto& entry) {
    const Channel& channel = entry.second;
    return channel.queued.empty() && (!channel.stream || driver().cuStreamQuery(channel.stream) != CUDA_ERROR_NOT_READY);
  });
}

uint64_t NcclCommunicator::send(int peer, int tag, const void* data, size_t bytes) {
  Channel& c = channel(rank(), peer, tag);
  device_.make_current();
  begin("send", nullptr, peer);
  const Message message{data, bytes, static_cast<size_t>(c.tickets % kEvents)};
  cuda::check(driver().cuEventRecord(c.events[message.event], stream_), "cuEventRecord");
  // A receiver that is itself about to send must not be waited for.
  c.queued.push_back(message);
  post_queued();
  return ++c.tickets;
}

void NcclCommunicator::wait_sent(int peer, int tag, uint64_t ticket) {
  Channel& c = channel(rank(), peer, tag);
  device_.make_current();
  if (ticket <= c.settled || ticket + kEvents <= c.tickets) return;
  begin("send", nullptr, peer);
  while (!c.queued.empty()) check();
  cuda::check(driver().cuStreamWaitEvent(stream_, c.events[static_cast<size_t>((ticket - 1) % kEvents)], 0), "cuStreamWaitEvent");
}

void NcclCommunicator::receive(int peer, int tag, void* data, size_t bytes) {
  begin("receive", nullptr, peer);
  Channel& c = channel(peer, rank(), tag);
  device_.make_current();
  order(ready_, stream_, c.stream);
  // What was posted meanwhile goes on: the peer may wait for it before it sends.
  c.comm->call("receive", [&](ncclComm_t comm) { return nccl().ncclRecv(data, bytes, ncclUint8, 0, comm, c.stream); }, [this] { is_capturing_ ? watch() : check(); });
  order(done_, c.stream, stream_);
}

}  // namespace merak
