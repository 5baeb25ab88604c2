// Where an engine computes: the memory its arenas lie in, the kernels its nodes become, how it reaches its peers. One Step drives them
// all. Calls are per instruction or per node, never per element.
#pragma once
#include <functional>  // the work of a step
#include <memory>      // ownership
#include <optional>    // what is known at once
#include <string>      // names

#include "comm/arena.h"       // ArenaHandle
#include "comm/async.h"       // AsyncCommunicator::Event
#include "engine/feed.h"      // Feed
#include "engine/program.h"   // RankPlan
#include "engine/recorder.h"  // Recorder

namespace merak {

struct LoadedExecutable;
struct StepInput;

// An arena's memory: the process's own, or a device's.
struct Memory {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<void> owner;
  std::shared_ptr<Arena> arena;  // where peers can map some of it
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
  // Forgets what has not begun and waits for what has, so that no buffer is touched any more. Does not throw.
  virtual void cancel() = 0;
  virtual std::vector<AsyncCommunicator::Event> take_trace() { return {}; }
  virtual double origin_seconds() const { return 0; }
  // Bytes beside the arenas.
  virtual size_t bytes() const = 0;
};

// What a step has found that is not finite, and where. `loss_nan` found at the end of a step: NaN or infinite.
struct NotFinite {
  enum class What : uint8_t { nothing, loss_nan, loss_infinite, activation_nan, norm } what = What::nothing;
  int64_t micro = 0;
};

// What is known of a step once its work is done.
struct StepEnd {
  NotFinite not_finite;
  bool overflowed = false;  // of a scaled loss: the gradients of some rank are not finite, and no rank has updated anything
  std::optional<double> gradient_norm;
};

// What an update is made of beside the plan. `gradient_scale`: what gradients have yet to be multiplied by.
struct Update {
  double learning_rate = 0;
  int64_t updates = 0;  // counting this one
  double gradient_scale = 1;
  double loss_scale = 1;  // the loss was multiplied by it
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Zeroed memory, of which peers look at the first `exchanged_bytes` only. Throws EngineError 'plan/out-of-memory'.
  virtual Memory allocate(const std::string& name, int64_t bytes, int64_t exchanged_bytes) = 0;
  virtual Memory allocate_scratch(size_t bytes) = 0;
  // Memory of the host through which an executable's batches and results pass; none (data null) where they go straight.
  virtual Memory allocate_staging(size_t bytes) = 0;
  // Bytes of an arena that memory really stands behind.
  virtual size_t resident_bytes(const Memory& memory) const = 0;
  // What the backend takes beside arenas, scratch and what kernels keep.
  virtual size_t own_bytes() const { return 0; }
  // Between steps, at once.
  virtual void write(std::byte* to, const void* from, size_t bytes) = 0;
  virtual void read(void* to, const std::byte* from, size_t bytes) = 0;

  // As compile_kernel (engine/registry.h).
  virtual std::unique_ptr<Kernel> compile(const NodeSpec& spec) = 0;
  virtual std::unique_ptr<Peers> make_peers(const RankPlan& plan, Recorder& recorder) = 0;
  // The engine's plan, which stays, and its persistent arena.
  virtual void opened(const RankPlan& plan, std::byte* persistent) = 0;
  // After an executable's kernels are compiled and its memory is there.
  virtual void loaded(LoadedExecutable& executable) { (void)executable; }

  // How batches of an executable reach it; null where they go straight, or by staging.
  virtual std::unique_ptr<Feed> make_feed(const Executable& plan) {
    (void)plan;
    return nullptr;
  }

  // Runs a step: `work` calls the functions below in the order of its instructions. `update` is what its update will be made of.
  virtual void run(LoadedExecutable& executable, const StepInput& input, const Update& update, RunContext& context, const std::function<void()>& work) = 0;
  // Waits for the step's work; `poll` is called meanwhile and may throw.
  virtual StepEnd finish(const std::function<void()>& poll) = 0;
  // Waits for what a node or an instruction has enqueued, so that its time can be told.
  virtual void settle() {}

  virtual void load(std::byte* to, const void* from, size_t bytes) = 0;     // from the caller's memory or staging
  virtual void collect(void* to, const std::byte* from, size_t bytes) = 0;  // to the caller's memory or staging
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void clear(std::byte* data, size_t bytes) = 0;
  virtual void scale(float* data, size_t count, float factor) = 0;
  virtual void set_micro(RunContext& context, int64_t micro) { context.micro = micro; }
  // Looks at the loss (null: none here) and at what model chunk `chunk` leaves in a `sent` slot. What is not known at once is told by
  // `finish`.
  virtual NotFinite check_finite(LoadedExecutable& executable, int chunk, int64_t micro, const float* loss, const std::byte* sent) = 0;
  // The gradients' norm where the plan clips or scales its loss, then one update of all trainable parameters. Nothing is updated where the norm is not
  // finite. The norm is given back where it is known at once.
  virtual std::optional<double> update(const Update& update, RunContext& context) = 0;
};

// The processor of this process, its memory, its peers on this host.
std::unique_ptr<Backend> make_cpu_backend();

}  // namespace merak
