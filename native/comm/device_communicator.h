// Communicators whose buffers lie in a GPU's memory. Calls are ordered by a stream, as kernels are.
#pragma once
#include <functional>  // what is captured
#include <map>         // calls by group
#include <memory>      // ownership
#include <string>      // arenas
#include <vector>      // handles, groups

#include "comm/arena.h"         // ArenaHandle
#include "comm/communicator.h"  // Communicator

namespace merak {

namespace cuda {
class Device;
}

// The exchanges that a CUDA graph holds: every launch of it makes them again, unseen by the communicator.
struct CapturedExchanges {
  std::map<int, uint32_t> collectives;  // how many, by group
  const char* operation = nullptr;      // the last of all; null where there is none
  int group = -1, peer = -1;            // whom it is with
};

// A call reads and writes its buffers after what was enqueued on the stream before it, and what is enqueued after it sees its
// result. Peers may be waited for within the call (staged) or on the stream (NCCL).
class DeviceCommunicator : public Communicator {
 public:
  // The stream (CUstream) of the calls from now on.
  virtual void set_stream(void* stream) = 0;
  // Whether calls only enqueue, so that a CUDA graph can hold them; the same on every rank. Known once peers are connected.
  virtual bool enqueues_only() = 0;
  // Whether all ranks say yes. Waits on the host for every rank's word, within the time limit; where calls only enqueue.
  virtual bool agree(bool yes) { return yes; }
  // Runs `work`, whose calls the stream's capture records, and joins the capture with every stream they reach. Nothing in there waits:
  // where it would have to, or where ranks are not connected yet, EngineError 'engine/cuda'.
  virtual CapturedExchanges capture(const std::function<void()>& work) {
    work();
    return {};
  }
  // Called before a graph with these exchanges is launched on the stream.
  virtual void launches(const CapturedExchanges&) {}
  // `release` destroys the graphs that hold calls: NCCL ends no communicator before.
  virtual void set_release(std::function<void()> release) { (void)release; }
  // Ends what is under way on the device, for good: whatever waits for a peer there waits no more.
  virtual void end() {}
  // Throws CommError when an exchange under way has failed (NCCL's asynchronous errors). Called again and again while the engine
  // waits for a stream; cheap.
  virtual void check() {}
  // Whether every message sent has left; `check` sees to those that have not. Before that a step must not end: its buffers are still
  // read, and what waits for a channel to be made would wait for the next step.
  virtual bool has_sent() const { return true; }
  // What peers need of this rank before the first call, and what it gets of theirs.
  virtual std::vector<ArenaHandle> handles() const = 0;
  virtual void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) = 0;
};

// NCCL where every rank of the world has a GPU of its own and finds the library, else staged through the host: as the ranks agree once
// they are connected.
std::unique_ptr<DeviceCommunicator> make_device_communicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups);

}  // namespace merak
