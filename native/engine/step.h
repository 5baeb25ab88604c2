// One step of an executable: interprets its instruction list.
#pragma once
#include "engine/engine.h"  // Engine, LoadedExecutable

namespace merak {

using Bases = std::array<std::byte*, kNumSpaces>;  // where each space begins for one instruction (its slot included)

class Step {
 public:
  Step(Engine& engine, LoadedExecutable& loaded, const StepInput& input);
  StepResult run();

 private:
  void execute(const Instruction& instruction);
  // execute, noted where the step is recorded.
  void execute_noted(const Instruction& instruction);
  void load(const Instruction& instruction);
  void run_program(const Instruction& instruction);
  void run_node(CompiledNode& node, const Bases& bases, bool starts = false, int program = -1);
  // What was recorded, with the waits for exchanges beside computation.
  std::vector<Span> take_spans();
  void send(const Instruction& instruction);
  void receive(const Instruction& instruction);
  void hand_over(const Instruction& instruction);
  void zero();
  void reduce();
  void reduce_buckets(const std::vector<Bucket>& buckets, Space space, float factor);
  void update();
  Update update_of_step() const;
  // Queues the all-reduce of the gradients that node `node` of the running program has completed.
  void start_chunks(size_t node);
  // With a sharded optimizer: this rank's piece of a bucket.
  float* piece_of(const Bucket& bucket, Space space) const;
  // Every replica's updated pieces to every other.
  void gather_parameters();
  void collect_outputs(const Instruction& instruction);
  void wait_for_slot(Message message, int64_t slot);
  void check_abort();
  // Where batches are read and results left, in the caller's memory or in staging.
  void place();
  // Lets the next step's batch come, if it has been announced.
  void bring_next();
  // Takes what staging holds of the results.
  void take_results();
  // After a forward program: throws engine/nan-loss when the loss is not finite or an activation to send holds a NaN, if that is known.
  void check_finite(const Instruction& instruction);
  // The same of a whole step.
  void check_end(const StepEnd& end);
  [[noreturn]] void fail(const NotFinite& found, const Instruction& instruction);
  // The forward program of a micro-batch that left what is not finite, its batch loaded again.
  const Instruction& load_again(int64_t micro);
  // Runs the program once more, looking at every result; says where the first non-finite value on the way to the loss arose.
  std::string first_not_finite(const Instruction& instruction);
  // A rank that was brought what is not finite leaves the first word to the one that made it: throws comm/aborted if that one fails in a second.
  void let_peers_speak();

  std::byte* space(Space space, int64_t slot = 0) const;
  Bases bases_of(const Instruction& instruction) const;
  float* metrics() const { return reinterpret_cast<float*>(space(Space::metrics)); }

  Engine& engine_;
  LoadedExecutable& loaded_;
  const Executable& plan_;
  const StepInput& input_;
  RunContext context_;
  StepResult result_;
  std::vector<const uint8_t*> fields_;  // in step with plan_.inputs
  std::vector<uint8_t*> outputs_;       // in step with plan_.outputs
  float* metrics_ = nullptr;            // a copy of the metrics, for the caller
  size_t next_chunk_ = 0;      // of the overlap plan: chunks before it are queued
  bool overlaps_ = false;      // the program running is the last to make gradients
  double gradient_scale_ = 1;  // what gradients have yet to be multiplied by
  bool metrics_reduced_ = false;  // the schedule has a reduction
  bool updates_ = false;  // the schedule has an update
};

}  // namespace merak
