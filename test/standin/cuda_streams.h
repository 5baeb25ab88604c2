// The stand-in libcuda's streams: queues of operations, events in them, captures of them as graphs, and how all of it is worked off
// (libcuda.cpp says by which rules).
#pragma once
#include <time.h>    // clock_gettime
#include <unistd.h>  // usleep

#include <cstdint>  // addresses
#include <cstdlib>  // getenv
#include <deque>    // queues
#include <fstream>  // notes
#include <map>      // where each stream is
#include <memory>   // shared operations
#include <mutex>    // one caller at a time
#include <set>      // live handles
#include <string>   // notes
#include <thread>   // yield
#include <vector>   // graphs

#include "libcuda.h"  // Poll, Start

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using merak_standin::Poll;
using merak_standin::Start;
using Address = unsigned long long;

enum : int {
  kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3, kNoDevice = 100, kInvalidDevice = 101, kInvalidContext = 201,
  kInvalidImage = 200, kInvalidHandle = 400, kNotFound = 500, kNotReady = 600, kIllegalAddress = 700, kLaunchOutOfResources = 701,
  kCaptureUnsupported = 900, kCaptureInvalidated = 901, kCaptureUnjoined = 904, kCaptureIsolation = 905, kCaptureWrongThread = 908,
};
using Frontier = std::set<size_t>;  // the nodes that what follows comes after

struct Node {
  Start start;
  Frontier after;
  std::vector<size_t> before;
};
struct Graph {
  std::vector<Node> nodes;
  std::vector<std::shared_ptr<void>> retained;  // let go of with the graph, of NCCL's calls one each
};
// Handles of graphs and of executable ones: what is launched is kept until it is done, whatever is destroyed meanwhile.
struct GraphHandle {
  std::shared_ptr<Graph> graph;
};
// A capture under way: the operations in the order of the calls, and where each stream is.
struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  struct Stream* origin;
  int mode;                // CUstreamCaptureMode
  std::thread::id thread;  // that began it
  bool is_invalid = false;
  std::map<struct Stream*, Frontier> frontiers;
};
struct Operation {
  Start start;
  Poll poll;  // made when its turn comes
};
struct Stream {
  std::deque<Operation> queue;
  uint64_t enqueued = 0, done = 0;
  std::shared_ptr<Capture> capture;
  bool is_busy = false;  // being worked off, further down the call stack
};
struct Event {
  Stream* stream = nullptr;  // null: never recorded
  uint64_t position = 0;
  double milliseconds = 0;
  bool is_timed = true;
  std::weak_ptr<Capture> capture;
  bool is_captured = false;  // recorded last in a capture, perhaps one that is over
  Frontier frontier;         // in a capture
};
std::recursive_mutex mutex;
std::set<Stream*> streams;
std::set<Event*> events;
Stream default_stream;
thread_local void* current_context = nullptr;

using Lock = std::lock_guard<std::recursive_mutex>;

// Appended at once, so that lines of several processes do not mix.
void note(const char* setting, const std::string& line) {
  const char* file = std::getenv(setting);
  if (file && *file) std::ofstream(file, std::ios::app) << line + "\n" << std::flush;
}
void note_wait(const char* call) { note("MERAK_STANDIN_WAITS", call); }
void note_call(const std::string& call, const void* stream, size_t bytes = 0) {
  note("MERAK_STANDIN_CALLS", call + " " + std::to_string(reinterpret_cast<uintptr_t>(stream)) + (bytes ? " " + std::to_string(bytes) : ""));
}

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}
// Works a stream off until it is empty, `until` operations are done, or one has to wait for another process. True when all is done.
bool advance(Stream& stream, uint64_t until) {
  if (stream.is_busy) return stream.done >= until;
  stream.is_busy = true;
  while (!stream.queue.empty() && stream.done < until) {
    Operation& operation = stream.queue.front();
    if (!operation.poll) operation.poll = operation.start();
    if (!operation.poll()) break;
    stream.queue.pop_front();
    stream.done++;
  }
  stream.is_busy = false;
  return stream.done >= until;
}

// The card works on all streams meanwhile; what this one waits for elsewhere is worked off by its wait.
bool settle(Stream& stream, uint64_t until) {
  for (;;) {
    {
      const Lock lock(mutex);
      if (advance(stream, until)) return true;
    }
    std::this_thread::yield();
    usleep(20);
  }
}

Stream* stream_of(void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  if (!stream) return &default_stream;
  return streams.count(stream) ? stream : nullptr;
}

int enqueue(Stream* stream, Start start) {
  if (!stream) return kInvalidHandle;
  if (stream->capture) {
    Capture& capture = *stream->capture;
    if (capture.is_invalid) return kCaptureInvalidated;
    Frontier& frontier = capture.frontiers[stream];
    std::vector<Node>& nodes = capture.graph->nodes;
    for (size_t node : frontier) nodes[node].before.push_back(nodes.size());
    nodes.push_back({std::move(start), frontier, {}});
    frontier = {nodes.size() - 1};
    return kSuccess;
  }
  stream->queue.push_back({std::move(start), nullptr});
  stream->enqueued++;
  return kSuccess;
}

Start once(std::function<void()> work) {
  return [work = std::move(work)]() -> Poll {
    return [&work] {
      work();
      return true;
    };
  };
}
void settle_all() {
  settle(default_stream, default_stream.enqueued);
  std::vector<Stream*> all;
  {
    const Lock lock(mutex);
    all.assign(streams.begin(), streams.end());
  }
  for (Stream* stream : all) settle(*stream, stream->enqueued);
}

int invalidate(Capture& capture) {
  capture.is_invalid = true;
  return kCaptureUnsupported;
}

// Whether a capture forbids this thread to synchronise and to allocate; to have tried ends it.
bool is_forbidden() {
  bool is = false;
  for (const Stream* stream : streams)
    if (stream->capture && (stream->capture->mode == 0 || (stream->capture->mode == 1 && stream->capture->thread == std::this_thread::get_id()))) {
      invalidate(*stream->capture);
      is = true;
    }
  return is;
}

// One launch of a graph.
Poll running(const std::shared_ptr<const Graph>& graph) {
  struct Run {
    std::vector<size_t> num_missing;  // nodes to wait for, by node
    Frontier ready;
    std::map<size_t, Poll> active;
    size_t num_done = 0;
  };
  auto run = std::make_shared<Run>();
  for (size_t i = 0; i < graph->nodes.size(); i++) {
    run->num_missing.push_back(graph->nodes[i].after.size());
    if (graph->nodes[i].after.empty()) run->ready.insert(i);
  }
  return [graph, run] {
    const auto end = [&](size_t node) {
      run->num_done++;
      for (size_t later : graph->nodes[node].before)
        if (--run->num_missing[later] == 0) run->ready.insert(later);
    };
    for (auto active = run->active.begin(); active != run->active.end();) {
      if (active->second()) {
        end(active->first);
        active = run->active.erase(active);
      } else {
        ++active;
      }
    }
    while (!run->ready.empty()) {
      const size_t node = *run->ready.rbegin();
      run->ready.erase(node);
      Poll poll = graph->nodes[node].start();
      if (poll()) end(node);
      else run->active[node] = std::move(poll);
    }
    return run->num_done == graph->nodes.size();
  };
}

}  // namespace
