// Two places on the card, two of the host.
#include "cuda/feed.h"

#include <algorithm>  // any_of
#include <cstring>    // memcpy

#include "engine/engine.h"  // staged

namespace merak::cuda {
namespace {

size_t batch_bytes(const Executable& plan) {
  size_t bytes = 0;
  for (const InputPlan& field : plan.inputs) bytes += staged(field.type.bytes() * static_cast<size_t>(plan.num_micro_batches));
  return bytes;
}

bool updates(const Executable& plan) {
  return std::any_of(plan.schedule.begin(), plan.schedule.end(), [](const Instruction& instruction) { return instruction.op == Op::update; });
}

void copy(std::byte* to, const std::byte* from, size_t bytes, CUstream stream) {
  check(driver().cuMemcpyHtoDAsync(address_of(to), from, bytes, stream), "cuMemcpyHtoDAsync");
}

}  // namespace

size_t feed_bytes(const Executable& plan) { return updates(plan) ? 2 * batch_bytes(plan) : 0; }

std::unique_ptr<CudaFeed> CudaFeed::make(std::shared_ptr<Device> device, CUstream stream, const Executable& plan) {
  if (feed_bytes(plan) == 0) return nullptr;
  return std::unique_ptr<CudaFeed>(new CudaFeed(std::move(device), stream, plan));
}

CudaFeed::CudaFeed(std::shared_ptr<Device> device, CUstream stream, const Executable& plan) : device_(std::move(device)), stream_(stream) {
  for (const InputPlan& field : plan.inputs) sizes_.push_back(field.type.bytes() * static_cast<size_t>(plan.num_micro_batches));
  const size_t bytes = batch_bytes(plan);
  current_ = device_memory(device_, "the batch", bytes);
  next_ = device_memory(device_, "the next batch", bytes);
  for (Memory& memory : pinned_) memory = pinned_memory(device_, bytes);
}

CudaFeed::~CudaFeed() {
  device_->make_current();
  driver().cuStreamSynchronize(ahead_stream_);
}

const std::byte* CudaFeed::pinned(const std::vector<const uint8_t*>& fields) {
  std::byte* const begin = pinned_[turn_].data;
  turn_ = 1 - turn_;
  std::byte* place = begin;
  for (size_t i = 0; i < fields.size(); i++) {
    if (sizes_[i]) std::memcpy(place, fields[i], sizes_[i]);
    place += staged(sizes_[i]);
  }
  return begin;
}

std::vector<const uint8_t*> CudaFeed::bring(uint64_t ticket, const std::vector<const uint8_t*>& fields) {
  device_->make_current();
  if (ahead_ != 0 && ahead_ == ticket) {
    arrived_.await(stream_);
    check(driver().cuMemcpyDtoDAsync(address_of(current_.data), address_of(next_.data), current_.bytes, stream_), "cuMemcpyDtoDAsync");
    taken_.record(stream_);
  } else {
    // What came ahead for a step that nobody called for may still be on its way from pinned memory.
    if (ahead_ != 0) ahead_stream_.wait();
    copy(current_.data, pinned(fields), current_.bytes, stream_);
  }
  ahead_ = 0;
  std::vector<const uint8_t*> places;
  const auto* place = reinterpret_cast<const uint8_t*>(current_.data);
  for (const size_t size : sizes_) {
    places.push_back(place);
    place += staged(size);
  }
  return places;
}

void CudaFeed::bring_ahead(uint64_t ticket, const std::vector<const uint8_t*>& fields) {
  if (ahead_ != 0) return;
  taken_.await(ahead_stream_);
  copy(next_.data, pinned(fields), next_.bytes, ahead_stream_);
  arrived_.record(ahead_stream_);
  ahead_ = ticket;
}

}  // namespace merak::cuda
