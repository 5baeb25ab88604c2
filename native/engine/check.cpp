// The checks of check.h.
#include "engine/check.h"

#include <algorithm>  // sort, max
#include <map>        // programs
#include <set>        // kinds of programs

#include "engine/error.h"  // EngineError

namespace merak {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 50;  // beyond any machine; sums and products of a few stay inside int64
constexpr int kMaxRanksOfPlan = 1 << 20;
constexpr int64_t kMaxSlots = 1 << 20;
constexpr int64_t kMaxMicroBatches = 1 << 20;

[[noreturn]] void fail(const std::string& where, const std::string& what) { throw EngineError("plan/invalid", where + ": " + what); }

void check(bool condition, const std::string& where, const char* what) {
  if (!condition) fail(where, what);
}

// Bytes of a tensor, or -1 when its dims are no sizes.
int64_t checked_bytes(const TensorType& type) {
  double bytes = static_cast<double>(size_of(type.dtype));
  for (const int64_t dim : type.shape) {
    if (dim < 0) return -1;
    bytes *= static_cast<double>(std::max<int64_t>(1, dim));
  }
  return bytes <= static_cast<double>(kMaxBytes) ? static_cast<int64_t>(type.bytes()) : -1;
}

// [offset, offset + bytes) inside `room`, and offset a multiple of the element size.
bool fits(int64_t offset, int64_t bytes, int64_t room, size_t element) {
  return bytes >= 0 && offset >= 0 && offset <= room && bytes <= room - offset && offset % static_cast<int64_t>(element) == 0;
}
bool fits(const TensorType& type, int64_t offset, const SpacePlan& space) {
  return fits(offset, checked_bytes(type), space.largest(), size_of(type.dtype));
}

void check_spaces(const Spaces& spaces, int64_t arena_bytes, bool persistent, const std::string& where) {
  check(arena_bytes >= 0 && arena_bytes <= kMaxBytes, where, "the arena has no valid size");
  std::vector<std::pair<int64_t, int64_t>> taken;
  for (int i = 0; i < kNumSpaces; i++) {
    const SpacePlan& space = spaces[i];
    if (is_persistent(static_cast<Space>(i)) != persistent) continue;
    const std::string name = where + ", space " + std::to_string(i);
    check(space.num_slots() <= kMaxSlots && space.base >= 0, name, "sizes must not be negative or huge");
    for (const int64_t bytes : space.slot_bytes) {
      check(bytes >= 0 && bytes <= kMaxBytes / kMaxSlots * 8, name, "sizes must not be negative or huge");
      check(bytes % 64 == 0, name, "base and slots must be multiples of 64 bytes");
    }
    if (space.slot_bytes.empty()) continue;
    check(space.base % 64 == 0, name, "base and slots must be multiples of 64 bytes");
    check(fits(space.base, space.bytes(), arena_bytes, 1), name, "lies outside its arena");
    if (space.bytes() > 0) taken.emplace_back(space.base, space.base + space.bytes());
  }
  std::sort(taken.begin(), taken.end());
  for (size_t i = 1; i < taken.size(); i++) check(taken[i].first >= taken[i - 1].second, where, "spaces overlap");
}

void check_groups(const RankPlan& plan) {
  const std::string where = "groups";
  for (const int degree : {plan.dp, plan.tp, plan.pp}) check(degree > 0 && degree <= kMaxRanksOfPlan, "mesh", "a degree must be positive");
  check(static_cast<double>(plan.dp) * plan.tp * plan.pp <= kMaxRanksOfPlan, "mesh", "there are too many ranks");
  check(plan.rank >= 0 && plan.rank < plan.world_size(), "mesh", "the rank lies outside the mesh");
  check(plan.dp_index >= 0 && plan.dp_index < plan.dp, "mesh", "the data coordinate lies outside the mesh");
  for (const GroupSpec& group : plan.groups) {
    std::vector<int> ranks = group.ranks;
    std::sort(ranks.begin(), ranks.end());
    check(!ranks.empty() && ranks.front() >= 0 && ranks.back() < plan.world_size(), where, "a group names a rank that does not exist");
    check(std::adjacent_find(ranks.begin(), ranks.end()) == ranks.end(), where, "a group names a rank twice");
    const auto degree = group.axis == "tp" ? plan.tp : group.axis == "dp" ? plan.dp : group.axis == "world" ? plan.world_size() : -1;
    check(degree < 0 || static_cast<int>(ranks.size()) == degree, where, "a group of an axis must have the axis's degree");
  }
  for (size_t i = 0; i < plan.groups.size(); i++)
    for (size_t j = i + 1; j < plan.groups.size(); j++) check(plan.groups[i].id != plan.groups[j].id, where, "two groups have one id");
}

bool is_member(const RankPlan& plan, int group) {
  for (const GroupSpec& one : plan.groups)
    if (one.id == group) return std::find(one.ranks.begin(), one.ranks.end(), plan.rank) != one.ranks.end();
  return false;
}

void check_buckets(const RankPlan& plan, const std::vector<Bucket>& buckets, Space which, const std::string& where) {
  const SpacePlan& space = plan.spaces[static_cast<int>(which)];
  for (const Bucket& bucket : buckets) {
    check(bucket.length >= 0 && bucket.length <= kMaxBytes / 4 && fits(bucket.offset, bucket.length * 4, space.largest(), 4),
          where, "a bucket lies outside its space");
    check(bucket.group < 0 || plan.world_size() == 1 || is_member(plan, bucket.group), where, "a bucket's group is none of this rank's");
    check(bucket.piece_length >= 0 && bucket.piece_length <= bucket.length, where, "a bucket's pieces do not fit it");
    if (bucket.piece_length == 0) continue;
    check(bucket.piece_length == bucket.length / plan.dp && bucket.length % plan.dp == 0, where, "a bucket's pieces do not fit it");
    const SpacePlan& parameters = plan.spaces[static_cast<int>(Space::parameters)];
    check(fits(bucket.offset, bucket.length * 4, parameters.largest(), 4), where,
          "a bucket in pieces has no counterpart in parameters");
  }
}

size_t num_moments(const OptimizerPlan& optimizer) {
  switch (optimizer.kind) {
    case OptimizerPlan::Kind::sgd: return 0;
    case OptimizerPlan::Kind::momentum: return 1;
    case OptimizerPlan::Kind::rmsprop: return optimizer.centered ? 3 : 2;
    default: return 2;
  }
}

void check_parameter(const RankPlan& plan, const RankParameter& parameter) {
  const std::string where = "parameter " + parameter.name;
  const auto space = [&](Space which) { return plan.spaces[static_cast<int>(which)]; };
  check(fits(parameter.type, parameter.offset, space(Space::parameters)), where, "lies outside its space");
  check(parameter.owned_begin >= 0 && parameter.owned_begin <= parameter.owned_end && parameter.owned_end <= parameter.type.numel(), where,
        "the part this rank updates lies outside it");
  const bool updated = parameter.trainable && parameter.gradient_offset >= 0;
  if (parameter.gradient_offset >= 0)
    check(parameter.type.dtype == DType::f32 && fits(parameter.type, parameter.gradient_offset, space(Space::gradients)), where,
          "the gradient lies outside its space");
  const TensorType moment{DType::f32, {parameter.owned_end - parameter.owned_begin}};
  for (const int64_t offset : parameter.moment_offsets)
    check(offset == -1 || fits(moment, offset, space(Space::optimizer)), where, "an optimizer moment lies outside its space");
  if (!updated || moment.numel() == 0) return;
  check(parameter.moment_offsets.size() >= num_moments(plan.optimizer), where, "has too few optimizer moments");
  for (size_t i = 0; i < num_moments(plan.optimizer); i++) check(parameter.moment_offsets[i] >= 0, where, "an optimizer moment has no place");
}

constexpr int kMaxChunks = 1 << 10;

void check_program(const Executable& executable, const Program& program, const std::string& where) {
  std::vector<bool> made(program.values.size(), false);
  for (const ProgramValue& value : program.values)
    check(fits(value.type, value.offset, executable.spaces[static_cast<int>(value.space)]), where, "a value lies outside its space in the memory map");
  for (const ProgramNode& node : program.nodes) {
    for (const std::vector<int>* list : {&node.inputs, &node.outputs})
      for (const int id : *list)
        check(id >= 0 && static_cast<size_t>(id) < program.values.size(), where + ", " + node.kernel, "names a value that does not exist");
    for (const int id : node.outputs) {
      check(!made[static_cast<size_t>(id)], where + ", " + node.kernel, "makes a value that was made before");
      made[static_cast<size_t>(id)] = true;
    }
  }
  // Scratch is nobody else's: what is read there was written before, so that no order of nodes is a circle.
  std::vector<bool> ready(program.values.size(), false);
  for (const ProgramNode& node : program.nodes) {
    for (const int id : node.inputs)
      check(!made[static_cast<size_t>(id)] || ready[static_cast<size_t>(id)], where + ", " + node.kernel, "reads a value before it is made");
    for (const int id : node.outputs) ready[static_cast<size_t>(id)] = true;
  }
}

// How far what a program reads and writes reaches into a slot of each space.
using Reach = std::array<int64_t, kNumSpaces>;

Reach reach_of(const Executable& executable, const Program& program) {
  Reach reach{};
  const auto add = [&](const TensorType& type, Space space, int64_t offset) {
    int64_t& end = reach[static_cast<size_t>(space)];
    end = std::max(end, offset + checked_bytes(type));
  };
  for (const ProgramValue& value : program.values) add(value.type, value.space, value.offset);
  // What is copied in before a forward program, and out after it.
  if (program.kind != ProgramKind::forward) return reach;
  for (const InputPlan& field : executable.inputs)
    if (field.chunk == program.chunk) add(field.type, Space::batch, field.offset);
  for (const OutputPlan& output : executable.outputs)
    if (output.chunk == program.chunk) add(output.type, Space::sent, output.offset);
  return reach;
}

void check_schedule(const Executable& executable, const RankPlan& plan, const std::string& where) {
  std::map<int, Reach> programs;
  for (const Program& program : executable.programs) programs.emplace(program.index(), reach_of(executable, program));
  const auto check_slot = [&](Space space, int64_t slot, int64_t least, int64_t reach) {
    const SpacePlan& room = executable.spaces[static_cast<int>(space)];
    check(slot >= least && (slot < 0 || slot < std::max<int64_t>(1, room.num_slots())), where, "an instruction names a slot that does not exist");
    if (reach == 0) return;
    const auto index = static_cast<size_t>(std::max<int64_t>(slot, 0));
    check(index < room.slot_bytes.size() && reach <= room.slot_bytes[index], where, "a program reaches past its slot");
  };
  const auto check_message = [&](Space space, int64_t slot, int64_t bytes) {
    const SpacePlan& room = executable.spaces[static_cast<int>(space)];
    check(slot >= 0 && slot < room.num_slots() && bytes >= 0 && bytes <= room.slot_bytes[static_cast<size_t>(slot)], where, "a message does not fit its slot");
  };
  for (const Instruction& instruction : executable.schedule) {
    const bool gradient = instruction.message == Message::gradient;
    check(instruction.micro >= 0 && instruction.micro < executable.num_micro_batches, where, "an instruction names a micro-batch that does not exist");
    if (instruction.program() != -1) {
      const auto program = programs.find(instruction.program());
      check(program != programs.end(), where, "an instruction runs a program that there is not");
      for (size_t i = 0; i < kNumSpaces; i++) check_slot(static_cast<Space>(i), instruction.slots[i], -1, program->second[i]);
    } else if (instruction.op == Op::load) {
      const auto program = programs.find(instruction.chunk * kNumProgramKinds);
      check(program != programs.end(), where, "an instruction loads the inputs of a chunk that there is not");
      check_slot(Space::batch, instruction.slot, 0, program->second[static_cast<size_t>(Space::batch)]);
    } else if (instruction.op == Op::send || instruction.op == Op::receive || instruction.op == Op::hand_over) {
      const Space from = gradient ? Space::sentGradients : Space::sent, to = gradient ? Space::receivedGradients : Space::received;
      if (instruction.op != Op::receive) check_message(from, instruction.slot, instruction.bytes);
      if (instruction.op != Op::send) check_message(to, instruction.op == Op::receive ? instruction.slot : instruction.to, instruction.bytes);
      if (instruction.op != Op::hand_over) check(instruction.peer >= 0 && instruction.peer < plan.world_size() && instruction.peer != plan.rank, where,
            "an instruction names a peer that does not exist");
    }
  }
}

}  // namespace

void check_rank_plan(const RankPlan& plan) {
  check_groups(plan);
  check_spaces(plan.spaces, plan.persistent_bytes, true, "persistent arena");
  for (const RankParameter& parameter : plan.parameters) check_parameter(plan, parameter);
  check_buckets(plan, plan.gradient_buckets, Space::gradients, "gradient buckets");
  check_buckets(plan, plan.state_buckets, Space::parameters, "state buckets");
}

void check_executable(const Executable& executable, const RankPlan& plan) {
  const std::string where = "executable " + executable.name;
  const auto space = [&](Space which) { return executable.spaces[static_cast<int>(which)]; };
  check_spaces(executable.spaces, executable.arena_bytes, false, where);
  check(executable.num_micro_batches > 0 && executable.num_micro_batches <= kMaxMicroBatches, where, "the number of micro-batches must be positive");
  for (const InputPlan& field : executable.inputs)
    check(fits(field.type, field.offset, space(Space::batch)), where + ", field " + field.name, "lies outside a batch slot");
  for (const OutputPlan& output : executable.outputs)
    check(fits(output.type, output.offset, space(Space::sent)), where + ", result " + output.name, "lies outside a slot of results");
  const TensorType metrics{DType::f32, {static_cast<int64_t>(executable.metrics.size())}};
  check(executable.metrics.empty() || fits(metrics, 0, space(Space::metrics)), where, "the metrics lie outside their space");
  for (const ConstantPlan& constant : executable.constants)
    check(fits(constant.offset, static_cast<int64_t>(constant.data.size()), space(Space::constants).largest(), 1),
          where, "a constant lies outside its space");
  std::set<int> seen;
  for (const Program& program : executable.programs) {
    check(program.chunk >= 0 && program.chunk < kMaxChunks, where, "a program has no valid chunk");
    check(seen.insert(program.index()).second, where, "has two programs of a kind");
    check_program(executable, program, where);
  }
  check_schedule(executable, plan, where);
}

}  // namespace merak
