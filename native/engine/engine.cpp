// Allocation, compilation and bookkeeping of an engine; the step itself is in step.cpp.
#include "engine/engine.h"

#include <algorithm>  // std::max

#include "engine/check.h"  // check_rank_plan, check_executable
#include "engine/error.h"  // EngineError
#include "engine/exchanged.h"  // exchanged_bytes
#include "engine/kept_weights.h"  // KeptWeights

namespace merak {
namespace {

std::vector<ArenaHandle> handle_of(const std::string& name, const Memory& memory) {
  if (!memory.arena || memory.arena->shared_bytes() == 0) return {};
  return {{name, memory.arena->fd(), memory.arena->shared_bytes()}};
}

// Fields (but for those that are fed), outputs and metrics of all micro-batches, each from a multiple of 64 bytes on.
size_t staging_bytes(const Executable& plan, bool is_fed) {
  const auto micro_batches = static_cast<size_t>(plan.num_micro_batches);
  size_t bytes = staged(plan.metrics.size() * sizeof(float));
  for (const std::vector<InputPlan>* list : {&plan.inputs, &plan.outputs})
    for (const InputPlan& field : *list)
      if (list == &plan.outputs || !is_fed) bytes += staged(field.type.bytes() * micro_batches);
  return bytes;
}

}  // namespace

Engine::Engine(RankPlan plan, std::unique_ptr<Backend> backend) : plan_(std::move(plan)), backend_(std::move(backend)) {
  check_rank_plan(plan_);
  persistent_ = backend_->allocate("persistent", plan_.persistent_bytes, exchanged_bytes(plan_));
  if (plan_.world_size() > 1) {
    peers_ = backend_->make_peers(plan_, recorder_);
    peers_->add("persistent", persistent_);
  }
  backend_->opened(plan_, persistent_.data);
  loss_scale_.scale = plan_.loss_scale.initial;
}

Engine::~Engine() = default;

std::vector<ArenaHandle> Engine::open_handles() const {
  std::vector<ArenaHandle> handles = handle_of("persistent", persistent_);
  if (peers_)
    for (const ArenaHandle& handle : peers_->handles()) handles.push_back(handle);
  return handles;
}

std::vector<ArenaHandle> Engine::load(Executable executable) {
  LoadedExecutable loaded;
  loaded.plan = std::move(executable);
  Executable& plan = loaded.plan;
  // One table for all: persistent spaces come from the rank's plan.
  for (int i = 0; i < kNumSpaces; i++)
    if (is_persistent(static_cast<Space>(i))) plan.spaces[i] = plan_.spaces[i];
  check_executable(plan, plan_);
  loaded.arena = backend_->allocate(plan.name, plan.arena_bytes, exchanged_bytes(plan, plan_));
  loaded.feed = backend_->make_feed(plan);
  loaded.staging = backend_->allocate_staging(staging_bytes(plan, loaded.feed != nullptr));
  const SpacePlan& constants = plan.spaces[static_cast<int>(Space::constants)];
  for (const ConstantPlan& constant : plan.constants)
    backend_->write(loaded.arena.data + constants.base + constant.offset, constant.data.data(), constant.data.size());
  loaded.sent[0].resize(static_cast<size_t>(plan.spaces[static_cast<int>(Space::sent)].num_slots()));
  loaded.sent[1].resize(static_cast<size_t>(plan.spaces[static_cast<int>(Space::sentGradients)].num_slots()));
  const auto num_chunks = static_cast<size_t>(plan.num_chunks());
  loaded.sent_floats.resize(num_chunks);
  for (const Program& program : plan.programs)
    if (program.kind == ProgramKind::forward)
      for (const ProgramValue& value : program.values)
        if (value.space == Space::sent && value.type.dtype == DType::f32)
          loaded.sent_floats[static_cast<size_t>(program.chunk)].emplace_back(value.offset, value.type.numel());
  for (const Instruction& instruction : plan.schedule)
    loaded.trains = loaded.trains || instruction.op == Op::backward || instruction.op == Op::update;
  loaded.changes_parameters = changes_parameters(plan);

  const std::string name = plan.name;
  executables_.erase(name);
  LoadedExecutable& placed = executables_.emplace(name, std::move(loaded)).first->second;
  placed.programs.resize(kNumProgramKinds * num_chunks);
  const auto kept = std::make_shared<KeptWeights>();
  const std::vector<ByteRange> written = written_parameters(placed.plan);
  const KernelMaker make = [this](const NodeSpec& spec) { return backend_->compile(spec); };
  try {
    for (const Program& program : placed.plan.programs) {
      CompiledProgram compiled = compile_program(program, placed.plan.spaces, placed.plan.num_micro_batches > 1 || !placed.changes_parameters, kept, written, make);
      placed.scratch_bytes = std::max(placed.scratch_bytes, compiled.scratch_bytes);
      placed.max_pointers = std::max(placed.max_pointers, compiled.max_pointers);
      placed.programs[static_cast<size_t>(program.index())] = std::move(compiled);
    }
    // A program starts gradients only where the schedule runs it after `zero`.
    for (size_t index = 0; index < placed.programs.size(); index++) {
      bool zeroes = false, runs = false, early = false;
      for (const Instruction& instruction : placed.plan.schedule) {
        zeroes = zeroes || instruction.op == Op::zero;
        const bool is_this = instruction.program() == static_cast<int>(index);
        runs = runs || is_this;
        early = early || (is_this && !zeroes);
      }
      if (!runs || early)
        for (CompiledNode& node : placed.programs[index].nodes) node.first.reset();
    }
    if (placed.trains) placed.overlap = plan_overlap(plan_, placed.plan, placed.programs);
    if (placed.trains) placed.zeroed = settle_gradient_starts(placed.programs, plan_.spaces[static_cast<int>(Space::gradients)].bytes());
  } catch (...) {
    executables_.erase(name);
    throw;
  }
  for (CompiledProgram& program : placed.programs)
    for (CompiledNode& node : program.nodes) {
      node.kernel->prepare();
      if (node.first) node.first->prepare();
    }
  if (placed.scratch_bytes > scratch_.bytes || !scratch_.data) scratch_ = backend_->allocate_scratch(placed.scratch_bytes);
  input_pointers_.resize(std::max(input_pointers_.size(), placed.max_pointers));
  output_pointers_.resize(std::max(output_pointers_.size(), placed.max_pointers));
  if (peers_) peers_->add(name, placed.arena);
  backend_->loaded(placed);
  return handle_of(name, placed.arena);
}

void Engine::connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) {
  if (rank == plan_.rank) return;
  if (!peers_) throw EngineError("plan/invalid", "a rank alone has no peers");
  try {
    peers_->connect(rank, arena, pid, fd, bytes);
  } catch (const EngineError&) {
    throw;
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    throw EngineError("comm/peer-lost", error.what());
  }
}

size_t Engine::parameter_bytes(size_t index, int moment) const {
  parameter(index, moment);
  const RankParameter& parameter = plan_.parameters[index];
  return moment < 0 ? parameter.type.bytes() : static_cast<size_t>(parameter.owned_end - parameter.owned_begin) * sizeof(float);
}

std::byte* Engine::parameter(size_t index, int moment) const {
  if (index >= plan_.parameters.size()) throw EngineError("plan/invalid", "no parameter " + std::to_string(index));
  const RankParameter& parameter = plan_.parameters[index];
  if (moment >= static_cast<int>(parameter.moment_offsets.size()))
    throw EngineError("plan/invalid", "parameter " + parameter.name + " has no optimizer moment " + std::to_string(moment));
  const Space space = moment < 0 ? Space::parameters : Space::optimizer;
  const int64_t offset = moment < 0 ? parameter.offset : parameter.moment_offsets[static_cast<size_t>(moment)];
  if (offset < 0) throw EngineError("plan/invalid", "parameter " + parameter.name + " has no such value on this rank");
  return persistent_.data + plan_.spaces[static_cast<int>(space)].base + offset;
}

void Engine::write(size_t index, int moment, const void* data, size_t bytes) {
  const size_t size = parameter_bytes(index, moment);
  if (size != bytes)
    throw EngineError("plan/invalid",
                      "parameter " + plan_.parameters[index].name + " has " + std::to_string(size) + " bytes, not " + std::to_string(bytes));
  if (moment < 0) parameters_state_++;
  backend_->write(parameter(index, moment), data, bytes);
}

void Engine::read(size_t index, int moment, void* data, size_t bytes) const {
  backend_->read(data, parameter(index, moment), std::min(bytes, parameter_bytes(index, moment)));
}

DType Engine::parameter_dtype(size_t index, int moment) const {
  if (index >= plan_.parameters.size()) throw EngineError("plan/invalid", "no parameter " + std::to_string(index));
  return moment < 0 ? plan_.parameters[index].type.dtype : DType::f32;
}

const LoadedExecutable& Engine::executable(const std::string& name) const {
  const auto found = executables_.find(name);
  if (found == executables_.end()) throw EngineError("engine/not-loaded", "no executable '" + name + "' is loaded");
  return found->second;
}

void Engine::abort(const std::string& reason) {
  {
    std::lock_guard lock(abort_mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
  }
  aborted_ = true;
  if (peers_) peers_->communicator().abort(reason);
}

std::vector<std::pair<std::string, size_t>> Engine::measured_bytes() const {
  size_t workspace = scratch_.bytes + backend_->own_bytes();
  for (const auto& [name, loaded] : executables_) {
    if (loaded.feed) workspace += loaded.feed->bytes();
    for (const CompiledProgram& program : loaded.programs) workspace += kept_bytes(program);
  }
  std::vector<std::pair<std::string, size_t>> bytes = {{"persistent", backend_->resident_bytes(persistent_)}, {"workspace", workspace}};
  if (peers_) bytes.emplace_back("control", peers_->bytes());
  for (const auto& [name, loaded] : executables_) bytes.emplace_back(name, backend_->resident_bytes(loaded.arena));
  return bytes;
}

std::vector<AsyncCommunicator::Event> Engine::take_collective_trace() {
  return peers_ ? peers_->take_trace() : std::vector<AsyncCommunicator::Event>();
}

std::map<std::string, Engine::KernelTime> Engine::kernel_times() const {
  std::map<std::string, KernelTime> times;
  for (const auto& [name, loaded] : executables_)
    for (const CompiledProgram& program : loaded.programs)
      for (const CompiledNode& node : program.nodes) {
        KernelTime& time = times[program.program->nodes[static_cast<size_t>(node.node)].kernel];
        time.seconds += node.seconds;
        time.num_runs += node.num_runs;
      }
  return times;
}

}  // namespace merak
