// One rank's engine: its arenas, its compiled executables, its communicator; runs steps. Not thread-safe but for abort() and announce(): the
// owner calls everything else from one thread at a time.
#pragma once
#include <atomic>         // abort flag
#include <mutex>          // abort reason
#include <unordered_map>  // executables by name

#include "engine/backend.h"   // Backend
#include "engine/compile.h"   // CompiledProgram
#include "engine/overlap.h"   // OverlapPlan
#include "engine/program.h"   // RankPlan, Executable
#include "engine/recorder.h"  // Recorder

namespace merak {

// An executable with its arena and kernels.
struct LoadedExecutable {
  Executable plan;
  Memory arena;
  Memory staging;  // fields, outputs, metrics: empty where the backend needs none
  std::unique_ptr<Feed> feed;  // of its batches, which have no place in `staging` then; null where the backend needs none
  std::vector<CompiledProgram> programs;  // by Program::index; empty where the executable has none
  bool trains = false;
  bool changes_parameters = false;  // a run may leave other parameters than it found
  // Gradients to zero before a step; the rest are written before they are added to.
  std::vector<GradientRange> zeroed;
  OverlapPlan overlap;
  // Per message kind and slot: the ticket of the last message sent from it, its receiver.
  struct Sent {
    uint64_t ticket = 0;
    int peer = -1;
  };
  std::array<std::vector<Sent>, 2> sent;
  // Per chunk: offset and length of the float tensors that it leaves in a `sent` slot.
  std::vector<std::vector<std::pair<int64_t, int64_t>>> sent_floats;
  size_t scratch_bytes = 0, max_pointers = 0;
  std::shared_ptr<void> backend_state;  // what a backend keeps of it
};

// How much of an executable's staging a tensor of so many bytes takes.
inline size_t staged(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct StepInput {
  uint32_t step = 0;
  uint64_t seed = 0;
  double learning_rate = 0;
  double timeout_seconds = 100;
  bool record = false;  // give back what happened when
  Fields inputs;
  uint64_t ticket = 0;  // under which the batch was announced; 0: it was not
};

struct StepResult {
  std::vector<float> metrics;
  double gradient_norm = 0;
  std::vector<std::vector<uint8_t>> outputs;  // in step with Executable::outputs; all micro-batches
  double seconds = 0;
  double wait_seconds = 0;
  // Where the plan scales its loss: whether the gradients overflowed, which leaves everything but the scale as it was.
  bool overflowed = false;
  std::vector<Span> spans;  // of a recorded step, in the order of their ends
};

class Engine {
 public:
  explicit Engine(RankPlan plan, std::unique_ptr<Backend> backend = make_cpu_backend());
  ~Engine();
  // Allocates and compiles; replaces an executable of the same name. Call on the thread that will run steps (its OpenMP team
  // size is compiled in). The handle of its arena, where peers can map it.
  std::vector<ArenaHandle> load(Executable executable);
  // Handles of the arenas that exist from the start.
  std::vector<ArenaHandle> open_handles() const;
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes);
  // A parameter (`moment` -1) or one of its optimizer moments. Throws EngineError 'plan/invalid' where there is none, or `bytes` is not
  // its size.
  size_t parameter_bytes(size_t index, int moment) const;
  void write(size_t index, int moment, const void* data, size_t bytes);
  void read(size_t index, int moment, void* data, size_t bytes) const;
  DType parameter_dtype(size_t index, int moment) const;
  void set_updates(int64_t updates) { updates_ = updates; }
  // Of the next step.
  const LossScaleState& loss_scale() const { return loss_scale_; }
  // Nothing where the plan does not scale its loss.
  void set_loss_scale(const LossScaleState& state) {
    if (plan_.loss_scale.is_on()) loss_scale_ = state;
  }
  StepResult run(const std::string& name, const StepInput& input);
  // From any thread: the batch of a step to come, which may be copied while another step runs. Where it does not fit, that step will say so.
  void announce(Announcement batch) { announced_.post(std::move(batch)); }
  void abort(const std::string& reason);
  // Resident bytes of each arena, and 'workspace': what kernels use beside the arenas.
  std::vector<std::pair<std::string, size_t>> measured_bytes() const;
  // Seconds and runs of each kernel since its executable was loaded.
  struct KernelTime {
    double seconds = 0;
    int64_t num_runs = 0;
  };
  std::map<std::string, KernelTime> kernel_times() const;
  // The collectives started and awaited since the last look.
  std::vector<AsyncCommunicator::Event> take_collective_trace();
  const LoadedExecutable& executable(const std::string& name) const;
  const RankPlan& plan() const { return plan_; }

 private:
  friend class Step;
  std::byte* parameter(size_t index, int moment) const;
  RankPlan plan_;
  std::unique_ptr<Backend> backend_;
  Memory persistent_;
  Recorder recorder_;
  std::unique_ptr<Peers> peers_;  // null when alone
  std::unordered_map<std::string, LoadedExecutable> executables_;
  Memory scratch_;
  std::vector<const void*> input_pointers_;
  std::vector<void*> output_pointers_;
  int64_t updates_ = 0;
  LossScaleState loss_scale_;
  uint64_t parameters_state_ = 1;  // counts what may have changed parameters
  Announcements announced_;
  std::atomic<bool> aborted_{false};
  std::mutex abort_mutex_;
  std::string abort_reason_;
};

}  // namespace merak
