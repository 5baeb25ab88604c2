// The stand-in libcuda's calls on streams, events and graphs.
#pragma once
#include "cuda_streams.h"

EXPORT int cuStreamCreate(void** stream, unsigned) {
  const Lock lock(mutex);
  if (!current_context) return kInvalidContext;
  *stream = *streams.insert(new Stream).first;
  return kSuccess;
}
EXPORT int cuStreamCreateWithPriority(void** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
EXPORT int cuStreamDestroy_v2(void* handle) {
  Stream* stream = nullptr;
  {
    const Lock lock(mutex);
    stream = stream_of(handle);
    if (!stream || stream == &default_stream) return kInvalidHandle;
    // A card finishes what is queued first; what waits for a peer for ever is dropped here.
    advance(*stream, stream->enqueued);
    for (Event* event : events)
      if (event->stream == stream) event->stream = nullptr;
    streams.erase(stream);
  }
  delete stream;
  return kSuccess;
}
EXPORT int cuStreamSynchronize(void* handle) {
  note_wait("cuStreamSynchronize");
  Stream* stream = nullptr;
  {
    const Lock lock(mutex);
    stream = stream_of(handle);
    if (!stream) return kInvalidHandle;
    if (stream->capture) return invalidate(*stream->capture);
  }
  settle(*stream, stream->enqueued);
  return kSuccess;
}
EXPORT int cuStreamQuery(void* handle) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream) return kInvalidHandle;
  if (stream->capture) return invalidate(*stream->capture);
  note_call("query", handle);
  return advance(*stream, stream->enqueued) ? kSuccess : kNotReady;
}
EXPORT int cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  auto* event = static_cast<Event*>(event_handle);
  if (!stream || !events.count(event)) return kInvalidHandle;
  const std::shared_ptr<Capture> capture = event->capture.lock();
  if (capture) {
    if (stream->capture && stream->capture != capture) return kCaptureIsolation;
    stream->capture = capture;
    capture->frontiers[stream].insert(event->frontier.begin(), event->frontier.end());
    return kSuccess;
  }
  if (event->is_captured) return kInvalidValue;  // of a capture that is over
  if (stream->capture) {
    invalidate(*stream->capture);
    return kCaptureIsolation;
  }
  note_call("wait", handle);
  if (!event->stream) return kSuccess;
  Stream* other = event->stream;
  const uint64_t position = event->position;
  if (other == stream) return kSuccess;
  return enqueue(stream, [other, position]() -> Poll {
    return [other, position] { return !streams.count(other) ? true : advance(*other, position); };
  });
}
EXPORT int cuEventCreate(void** event, unsigned flags) {
  const Lock lock(mutex);
  if (!current_context) return kInvalidContext;
  auto* made = new Event;
  made->is_timed = !(flags & 2);
  *event = *events.insert(made).first;
  return kSuccess;
}
EXPORT int cuEventDestroy_v2(void* handle) {
  const Lock lock(mutex);
  auto* event = static_cast<Event*>(handle);
  if (!events.erase(event)) return kInvalidHandle;
  if (event->stream) advance(*event->stream, event->position);
  delete event;
  return kSuccess;
}
EXPORT int cuEventRecord(void* handle, void* stream_handle) {
  const Lock lock(mutex);
  auto* event = static_cast<Event*>(handle);
  Stream* stream = stream_of(stream_handle);
  if (!stream || !events.count(event)) return kInvalidHandle;
  event->is_captured = stream->capture != nullptr;
  if (stream->capture) {
    event->capture = stream->capture;
    event->frontier = stream->capture->frontiers[stream];
    return kSuccess;
  }
  note_call("record", stream_handle);
  event->capture.reset();
  event->stream = stream;
  enqueue(stream, once([event] {
            if (events.count(event)) event->milliseconds = now();
          }));
  event->position = stream->enqueued;
  return kSuccess;
}
EXPORT int cuEventQuery(void* handle) {
  const Lock lock(mutex);
  auto* event = static_cast<Event*>(handle);
  if (!events.count(event)) return kInvalidHandle;
  if (const auto capture = event->capture.lock()) return invalidate(*capture);
  return !event->stream || advance(*event->stream, event->position) ? kSuccess : kNotReady;
}
EXPORT int cuEventSynchronize(void* handle) {
  note_wait("cuEventSynchronize");
  Event* event = static_cast<Event*>(handle);
  {
    const Lock lock(mutex);
    if (!events.count(event)) return kInvalidHandle;
    if (const auto capture = event->capture.lock()) return invalidate(*capture);
    if (!event->stream) return kSuccess;
  }
  settle(*event->stream, event->position);
  return kSuccess;
}
EXPORT int cuEventElapsedTime(float* milliseconds, void* begin, void* end) {
  const Lock lock(mutex);
  auto *first = static_cast<Event*>(begin), *last = static_cast<Event*>(end);
  if (!events.count(first) || !events.count(last) || !first->is_timed || !last->is_timed) return kInvalidHandle;
  if (!first->stream || !last->stream) return kInvalidHandle;
  if (first->stream->done < first->position || last->stream->done < last->position) return kNotReady;
  *milliseconds = static_cast<float>(last->milliseconds - first->milliseconds);
  return kSuccess;
}

EXPORT int cuStreamBeginCapture_v2(void* handle, int mode) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream || stream == &default_stream || stream->capture) return kInvalidValue;
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->thread = std::this_thread::get_id();
  return kSuccess;
}
EXPORT int cuStreamIsCapturing(void* handle, int* status) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream) return kInvalidHandle;
  *status = stream->capture ? 1 : 0;
  return kSuccess;
}
EXPORT int cuStreamEndCapture(void* handle, void** graph) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream || !stream->capture || stream->capture->origin != stream) return kInvalidValue;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->mode != 2 && capture->thread != std::this_thread::get_id()) return kCaptureWrongThread;
  // Every node comes before what the origin has come to.
  std::vector<bool> is_joined(capture->graph->nodes.size());
  std::vector<size_t> found(capture->frontiers[stream].begin(), capture->frontiers[stream].end());
  while (!found.empty()) {
    const size_t node = found.back();
    found.pop_back();
    if (is_joined[node]) continue;
    is_joined[node] = true;
    const Frontier& after = capture->graph->nodes[node].after;
    found.insert(found.end(), after.begin(), after.end());
  }
  for (Stream* other : streams)
    if (other->capture == capture) other->capture.reset();
  *graph = nullptr;
  if (capture->is_invalid) return kCaptureInvalidated;
  for (const bool is : is_joined)
    if (!is) return kCaptureUnjoined;
  *graph = new GraphHandle{capture->graph};
  return kSuccess;
}
EXPORT int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
  *exec = new GraphHandle(*static_cast<GraphHandle*>(graph));
  return kSuccess;
}
EXPORT int cuGraphLaunch(void* exec, void* handle) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream) return kInvalidHandle;
  if (stream->capture) return invalidate(*stream->capture);
  const std::shared_ptr<const Graph> graph = static_cast<GraphHandle*>(exec)->graph;
  note_call("graph", handle);
  note("MERAK_STANDIN_GRAPHS",
       std::to_string(getpid()) + " " + std::to_string(graph->nodes.size()) + " " + std::to_string(graph->retained.size()));
  return enqueue(stream, [graph] { return running(graph); });
}
// What runs goes on, and is freed when it is done.
EXPORT int cuGraphExecDestroy(void* exec) {
  const Lock lock(mutex);
  delete static_cast<GraphHandle*>(exec);
  return kSuccess;
}
EXPORT int cuGraphDestroy(void* graph) {
  const Lock lock(mutex);
  delete static_cast<GraphHandle*>(graph);
  return kSuccess;
}
