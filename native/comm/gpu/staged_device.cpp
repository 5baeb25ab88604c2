// Device memory to the host, the host's collective, and back.
#include "comm/gpu/staged_device.h"

#include <algorithm>  // find

#include "comm/reduce.h"  // scale_in_place

namespace merak {

using cuda::CUdeviceptr;
using cuda::driver;

StagedDeviceCommunicator::StagedDeviceCommunicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups)
    : device_(device), groups_(groups), host_(rank, world_size, groups, 0) {}

std::vector<ArenaHandle> StagedDeviceCommunicator::handles() const {
  const Arena &control = *host_.shm().control(), &staging = host_.staging();
  return {{"control", control.fd(), control.bytes()}, {"staging", staging.fd(), staging.bytes()}};
}

void StagedDeviceCommunicator::connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) {
  host_.shm().add_peer_arena(rank, arena, pid, fd, bytes);
}

size_t StagedDeviceCommunicator::size_of(int group) const {
  for (const GroupSpec& spec : groups_)
    if (spec.id == group) return spec.ranks.size();
  throw std::runtime_error("no group " + std::to_string(group));
}

size_t StagedDeviceCommunicator::index_in(int group) const {
  for (const GroupSpec& spec : groups_)
    if (spec.id == group) return static_cast<size_t>(std::find(spec.ranks.begin(), spec.ranks.end(), rank()) - spec.ranks.begin());
  throw std::runtime_error("no group " + std::to_string(group));
}

void StagedDeviceCommunicator::fetch(void* to, const void* from, size_t bytes) {
  device_.make_current();
  if (bytes) cuda::check(driver().cuMemcpyDtoHAsync(to, reinterpret_cast<CUdeviceptr>(from), bytes, stream_), "cuMemcpyDtoHAsync");
  cuda::check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
}

void StagedDeviceCommunicator::put(void* to, const void* from, size_t bytes) {
  if (bytes) cuda::check(driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(to), from, bytes, stream_), "cuMemcpyHtoDAsync");
  cuda::check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
}

void StagedDeviceCommunicator::all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) {
  if (size_of(group) == 1 && (scale == 1.0f || op == ReduceOp::max)) return;
  buffer_.resize(count * sizeof(float));
  auto* floats = reinterpret_cast<float*>(buffer_.data());
  fetch(floats, data, buffer_.size());
  if (size_of(group) > 1) host_.all_reduce(group, floats, count, op);
  if (op == ReduceOp::sum && scale != 1.0f) scale_in_place(floats, count, scale);
  put(data, floats, buffer_.size());
}

void StagedDeviceCommunicator::all_gather(int group, const void* input, void* output, size_t bytes) {
  all_gather_into(group, input, output, 1, bytes);
}

void StagedDeviceCommunicator::all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) {
  const size_t bytes = outer * chunk_bytes, num_ranks = size_of(group);
  Buffer own(bytes);
  fetch(own.data(), input, bytes);
  const std::vector<Buffer> parts = num_ranks == 1 ? std::vector<Buffer>{own} : host_.all_gather(group, own.data(), bytes);
  buffer_.resize(bytes * num_ranks);
  for (size_t o = 0; o < outer; o++)
    for (size_t i = 0; i < num_ranks; i++)
      std::copy_n(parts[i].data() + o * chunk_bytes, chunk_bytes, buffer_.data() + (o * num_ranks + i) * chunk_bytes);
  put(output, buffer_.data(), buffer_.size());
}

void StagedDeviceCommunicator::reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) {
  const size_t num_ranks = size_of(group), index = index_in(group), count = outer * num_ranks * chunk;
  buffer_.resize(count * sizeof(float));
  auto* floats = reinterpret_cast<float*>(buffer_.data());
  fetch(floats, input, buffer_.size());
  if (num_ranks > 1) host_.all_reduce(group, floats, count, ReduceOp::sum);
  for (size_t o = 0; o < outer; o++) std::copy_n(floats + (o * num_ranks + index) * chunk, chunk, floats + o * chunk);
  if (scale != 1.0f) scale_in_place(floats, outer * chunk, scale);
  put(output, floats, outer * chunk * sizeof(float));
}

void StagedDeviceCommunicator::broadcast(int group, void* data, size_t bytes, int root_index) {
  if (size_of(group) == 1) return;
  const bool is_root = static_cast<int>(index_in(group)) == root_index;
  buffer_.resize(bytes);
  if (is_root) fetch(buffer_.data(), data, bytes);
  host_.broadcast(group, buffer_.data(), bytes, root_index);
  if (!is_root) put(data, buffer_.data(), bytes);
}

void StagedDeviceCommunicator::barrier(int group) {
  fetch(nullptr, nullptr, 0);
  host_.shm().barrier(group);
}

uint64_t StagedDeviceCommunicator::send(int peer, int tag, const void* data, size_t bytes) {
  buffer_.resize(bytes);
  fetch(buffer_.data(), data, bytes);
  host_.send(peer, static_cast<uint32_t>(tag), buffer_.data(), bytes);
  return 0;
}

void StagedDeviceCommunicator::receive(int peer, int tag, void* data, size_t bytes) {
  const Buffer message = host_.receive(peer, static_cast<uint32_t>(tag));
  if (message.size() != bytes)
    throw CommError("comm/mismatch", peer, "rank " + std::to_string(peer) + " sent " + std::to_string(message.size()) + " bytes where rank " +
                                               std::to_string(rank()) + " expects " + std::to_string(bytes));
  device_.make_current();
  put(data, message.data(), bytes);
}

}  // namespace merak
