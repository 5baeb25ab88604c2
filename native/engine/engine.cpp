// Allocation, compilation and bookkeeping of an engine; the step itself is in step.cpp.
#include "engine/engine.h"

#include <sys/stat.h>  // fstat
#include <unistd.h>    // sysconf

#include <algorithm>  // std::max

#include "engine/check.h"  // check_rank_plan, check_executable
#include "engine/error.h"  // EngineError

namespace merak {
namespace {

std::shared_ptr<Arena> create_arena(const std::string& name, int64_t bytes) {
  // The kernel would lend the addresses and end the process at the first touch too many.
  const double machine = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (static_cast<double>(bytes) > machine)
    throw EngineError("plan/out-of-memory", "arena " + name + " needs " + std::to_string(bytes) + " bytes, and the machine has " +
                                                std::to_string(static_cast<int64_t>(machine)));
  try {
    return Arena::create(name, static_cast<size_t>(bytes));
  } catch (const std::exception& error) {
    throw EngineError("plan/out-of-memory", error.what());
  }
}

// Bytes of an arena that memory really stands behind: pages touched so far.
size_t resident_bytes(const Arena& arena) {
  struct stat status{};
  return fstat(arena.fd(), &status) == 0 ? static_cast<size_t>(status.st_blocks) * 512 : arena.bytes();
}

}  // namespace

Engine::Engine(RankPlan plan) : plan_(std::move(plan)) {
  check_rank_plan(plan_);
  persistent_ = create_arena("persistent", plan_.persistent_bytes);
  if (plan_.world_size() > 1) {
    comm_ = std::make_unique<ShmCommunicator>(plan_.rank, plan_.world_size(), plan_.groups);
    comm_->add_arena("persistent", persistent_);
    recording_ = std::make_unique<RecordingCommunicator>(*comm_, recorder_);
    async_ = std::make_unique<AsyncCommunicator>(*recording_);
  }
}

std::vector<ArenaHandle> Engine::open_handles() const {
  std::vector<ArenaHandle> handles = {{"persistent", persistent_->fd(), persistent_->bytes()}};
  if (comm_) handles.push_back({"control", comm_->control()->fd(), comm_->control()->bytes()});
  return handles;
}

ArenaHandle Engine::load(Executable executable) {
  LoadedExecutable loaded;
  loaded.plan = std::move(executable);
  Executable& plan = loaded.plan;
  // One table for all: persistent spaces come from the rank's plan.
  for (int i = 0; i < kNumSpaces; i++)
    if (is_persistent(static_cast<Space>(i))) plan.spaces[i] = plan_.spaces[i];
  check_executable(plan, plan_);
  loaded.arena = create_arena(plan.name, plan.arena_bytes);
  const SpacePlan& constants = plan.spaces[static_cast<int>(Space::constants)];
  for (const ConstantPlan& constant : plan.constants)
    if (!constant.data.empty()) std::memcpy(loaded.arena->data() + constants.base + constant.offset, constant.data.data(), constant.data.size());
  loaded.sent[0].resize(static_cast<size_t>(plan.spaces[static_cast<int>(Space::sent)].num_slots));
  loaded.sent[1].resize(static_cast<size_t>(plan.spaces[static_cast<int>(Space::sentGradients)].num_slots));
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
  try {
    for (const Program& program : placed.plan.programs) {
      CompiledProgram compiled = compile_program(program, placed.plan.spaces, placed.plan.num_micro_batches > 1 || !placed.changes_parameters);
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
  if (placed.scratch_bytes > scratch_bytes_ || !scratch_) {
    scratch_ = aligned_bytes(placed.scratch_bytes);
    scratch_bytes_ = placed.scratch_bytes;
  }
  input_pointers_.resize(std::max(input_pointers_.size(), placed.max_pointers));
  output_pointers_.resize(std::max(output_pointers_.size(), placed.max_pointers));
  if (comm_) comm_->add_arena(name, placed.arena);
  return {name, placed.arena->fd(), placed.arena->bytes()};
}

void Engine::connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) {
  if (rank == plan_.rank) return;
  if (!comm_) throw EngineError("plan/invalid", "a rank alone has no peers");
  try {
    comm_->add_peer_arena(rank, arena, pid, fd, bytes);
  } catch (const std::exception& error) {
    throw EngineError("comm/peer-lost", error.what());
  }
}

std::pair<std::byte*, size_t> Engine::parameter(size_t index, int moment) {
  if (index >= plan_.parameters.size()) throw EngineError("plan/invalid", "no parameter " + std::to_string(index));
  const RankParameter& parameter = plan_.parameters[index];
  if (moment >= static_cast<int>(parameter.moment_offsets.size()))
    throw EngineError("plan/invalid", "parameter " + parameter.name + " has no optimizer moment " + std::to_string(moment));
  const Space space = moment < 0 ? Space::parameters : Space::optimizer;
  const int64_t offset = moment < 0 ? parameter.offset : parameter.moment_offsets[static_cast<size_t>(moment)];
  if (offset < 0) throw EngineError("plan/invalid", "parameter " + parameter.name + " has no such value on this rank");
  if (moment < 0) parameters_state_++;
  const size_t bytes =
      moment < 0 ? parameter.type.bytes() : static_cast<size_t>(parameter.owned_end - parameter.owned_begin) * sizeof(float);
  return {persistent_->data() + plan_.spaces[static_cast<int>(space)].base + offset, bytes};
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
  if (comm_) comm_->abort(reason);
}

std::vector<std::pair<std::string, size_t>> Engine::measured_bytes() const {
  size_t workspace = scratch_bytes_;
  for (const auto& [name, loaded] : executables_)
    for (const CompiledProgram& program : loaded.programs) workspace += kept_bytes(program);
  std::vector<std::pair<std::string, size_t>> bytes = {{"persistent", resident_bytes(*persistent_)}, {"workspace", workspace}};
  if (comm_) bytes.emplace_back("control", resident_bytes(*comm_->control()));
  for (const auto& [name, loaded] : executables_) bytes.emplace_back(name, resident_bytes(*loaded.arena));
  return bytes;
}

std::vector<AsyncCommunicator::Event> Engine::take_collective_trace() {
  return async_ ? async_->take_trace() : std::vector<AsyncCommunicator::Event>();
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
