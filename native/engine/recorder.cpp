#include "engine/recorder.h"

#include <utility>  // exchange

namespace merak {
namespace {

// A runaway step must not eat the memory: some hundred times what a large model's step records.
constexpr size_t kMaxSpans = 1 << 20;

}  // namespace

void Recorder::start() {
  std::lock_guard lock(mutex_);
  owner_ = std::this_thread::get_id();
  spans_.clear();
  on_ = true;
}

std::vector<Span> Recorder::take() {
  std::lock_guard lock(mutex_);
  on_ = false;
  return std::exchange(spans_, {});
}

void Recorder::add(Span span) {
  std::lock_guard lock(mutex_);
  if (!on() || spans_.size() >= kMaxSpans) return;
  span.helper = std::this_thread::get_id() != owner_;
  spans_.push_back(span);
}

// A call that throws leaves no span: its step is over.
template <class Call>
auto RecordingCommunicator::noted(Exchange what, int with, const void* buffer, size_t bytes, Call call) {
  if (!recorder_.on()) return call();
  Span span;
  span.kind = Span::Kind::exchange;
  span.index = static_cast<int64_t>(what);
  span.detail = with;
  span.bytes = static_cast<double>(bytes);
  span.buffer = reinterpret_cast<uint64_t>(buffer);
  const double waited = thread_wait_seconds;
  span.begin = steady_seconds();
  const auto done = [&] {
    span.end = steady_seconds();
    span.wait = thread_wait_seconds - waited;
    recorder_.add(span);
  };
  if constexpr (std::is_void_v<decltype(call())>) {
    call();
    done();
  } else {
    const auto result = call();
    done();
    return result;
  }
}

void RecordingCommunicator::all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) {
  noted(Exchange::all_reduce, group, data, count * sizeof(float), [&] { inner_.all_reduce(group, data, count, op, scale); });
}

void RecordingCommunicator::all_gather(int group, const void* input, void* output, size_t bytes) {
  noted(Exchange::all_gather, group, output, bytes, [&] { inner_.all_gather(group, input, output, bytes); });
}

void RecordingCommunicator::all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) {
  noted(Exchange::all_gather, group, output, outer * chunk_bytes,
        [&] { inner_.all_gather_into(group, input, output, outer, chunk_bytes); });
}

void RecordingCommunicator::reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) {
  noted(Exchange::reduce_scatter, group, output, outer * chunk * sizeof(float),
        [&] { inner_.reduce_scatter(group, input, output, outer, chunk, scale); });
}

void RecordingCommunicator::broadcast(int group, void* data, size_t bytes, int root_index) {
  noted(Exchange::broadcast, group, data, bytes, [&] { inner_.broadcast(group, data, bytes, root_index); });
}

void RecordingCommunicator::barrier(int group) {
  noted(Exchange::barrier, group, nullptr, 0, [&] { inner_.barrier(group); });
}

uint64_t RecordingCommunicator::send(int peer, int tag, const void* data, size_t bytes) {
  return noted(Exchange::send, peer, data, bytes, [&] { return inner_.send(peer, tag, data, bytes); });
}

void RecordingCommunicator::wait_sent(int peer, int tag, uint64_t ticket) {
  noted(Exchange::wait_sent, peer, nullptr, 0, [&] { inner_.wait_sent(peer, tag, ticket); });
}

void RecordingCommunicator::receive(int peer, int tag, void* data, size_t bytes) {
  noted(Exchange::receive, peer, data, bytes, [&] { inner_.receive(peer, tag, data, bytes); });
}

}  // namespace merak
