// Where an engine computes: the memory its arenas lie in, the kernels its nodes become, how it reaches its peers. One Step drives them
// all. Calls are per instruction or per node, never per element.
#pragma once
#include <memory>  // ownership
#include <string>  // names

#include "comm/arena.h"      // ArenaHandle
#include "comm/async.h"      // AsyncCommunicator::Event
#include "engine/program.h"  // RankPlan

namespace merak {

struct LoadedExecutable;

// An arena's memory: the process's own, or a device's.
struct Memory {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<void> owner;
  std::shared_ptr<Arena> shared;  // where peers can map it
};

// How the ranks of a plan meet. One per engine; made only where there is more than one rank.
class Peers {
 public:
  virtual ~Peers() = default;
  // What steps and kernels call.
  virtual Communicator& communicator() = 0;
  // Memory that is there from the start and that peers must map.
  virtual std::vector<ArenaHandle> handles() const = 0;
  // Makes an arena known, so that collectives may work in it.
  virtual void add(const std::string& name, const Memory& memory) = 0;
  virtual void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) = 0;
  // Forgets what has not begun and waits for what has, so that no buffer is touched any more.
  virtual void cancel() = 0;
  virtual std::vector<AsyncCommunicator::Event> take_trace() = 0;
  virtual double origin_seconds() const = 0;
  virtual size_t resident_bytes() const = 0;
};

}  // namespace merak
