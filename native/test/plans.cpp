// The small plan and its mutations.
#include "test/plans.h"

#include <cstring>  // memcpy
#include <limits>  // int64

namespace merak::test {
namespace {

TensorType row() { return {DType::f32, {kWidth}}; }
TensorType scalar() { return {DType::f32, {}}; }

class Draw {
 public:
  explicit Draw(uint32_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  size_t below(size_t n) {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return n ? static_cast<size_t>(state_ >> 33) % n : 0;
  }
  template <class T>
  T* of(std::vector<T>& list) {
    return list.empty() ? nullptr : &list[below(list.size())];
  }
  int64_t odd(int64_t value) {
    if (value > (int64_t{1} << 41) || value < -(int64_t{1} << 41)) return 0;  // changed once already
    switch (below(12)) {
      case 0: return value + 1;
      case 1: return value - 1;
      case 2: return -value - 1;
      case 3: return value + 64;
      case 4: return value - 64;
      case 5: return value + 4;
      case 6: return 0;
      case 7: return int64_t{1} << 40;
      case 8: return std::numeric_limits<int64_t>::max();
      case 9: return std::numeric_limits<int64_t>::min();
      case 10: return value * 2;
      default: return static_cast<int64_t>(below(300));
    }
  }
  void change(int64_t& value) { value = odd(value); }
  void change(int& value) { value = static_cast<int>(odd(value)); }

 private:
  uint64_t state_;
};

void mutate_type(TensorType& type, Draw& draw) {
  if (draw.below(3) == 0) type.dtype = static_cast<DType>(draw.below(kNumDTypes));
  else if (type.shape.empty() || draw.below(4) == 0) type.shape.push_back(draw.odd(2));
  else draw.change(*draw.of(type.shape));
}

void mutate_node(ProgramNode& node, Program& program, Draw& draw) {
  static const std::vector<std::string> kernels = {"Add", "Multiply", "Reshape", "Identity", "MerakAssign", "MerakAccumulate", "BatchMatMul",
                                                   "MerakAllReduce", "MerakWait", "Concat", "SplitV", "GatherV2", "Cumsum", "no such kernel"};
  switch (draw.below(5)) {
    case 0: node.kernel = kernels[draw.below(kernels.size())]; break;
    case 1:
      if (int* id = draw.of(node.inputs)) *id = static_cast<int>(draw.below(program.values.size() + 1));
      break;
    case 2:
      if (int* id = draw.of(node.outputs)) *id = static_cast<int>(draw.below(program.values.size() + 1));
      break;
    case 3:
      if (draw.below(2)) node.inputs.push_back(static_cast<int>(draw.below(program.values.size())));
      else if (!node.inputs.empty()) node.inputs.pop_back();
      break;
    default: node.attrs.values["axis"] = static_cast<double>(draw.odd(0)); node.attrs.values["accumulate"] = true;
  }
}

void mutate_instruction(std::vector<Instruction>& schedule, Draw& draw) {
  Instruction* instruction = draw.of(schedule);
  if (!instruction) return;
  switch (draw.below(9)) {
    case 7: draw.change(instruction->chunk); return;
    case 8:
      instruction->op = draw.below(2) ? Op::hand_over : Op::send;
      draw.change(draw.below(2) ? instruction->bytes : instruction->to);
      return;
    case 0: schedule.erase(schedule.begin() + (instruction - schedule.data())); return;
    case 1: schedule.push_back(*instruction); return;
    case 2: schedule.resize(draw.below(schedule.size() + 1)); return;
    case 3: instruction->op = static_cast<Op>(draw.below(12)); return;
    case 4: draw.change(instruction->slot); return;
    case 5: draw.change(instruction->micro); return;
    default: draw.change(instruction->slots[draw.below(kNumSpaces)]); draw.change(instruction->peer);
  }
}

void mutate_space(Spaces& spaces, int64_t& arena_bytes, Draw& draw) {
  SpacePlan& space = spaces[draw.below(kNumSpaces)];
  switch (draw.below(4)) {
    case 0: return draw.change(space.base);
    case 1:
      if (int64_t* bytes = draw.of(space.slot_bytes)) draw.change(*bytes);
      return;
    case 2:
      if (draw.below(2)) space.slot_bytes.push_back(draw.odd(64));
      else if (!space.slot_bytes.empty()) space.slot_bytes.pop_back();
      return;
    default: return draw.change(arena_bytes);
  }
}

void mutate_parameter(RankPlan& plan, Draw& draw) {
  RankParameter* parameter = draw.of(plan.parameters);
  if (!parameter) return;
  switch (draw.below(6)) {
    case 0: return draw.change(parameter->offset);
    case 1: return draw.change(parameter->gradient_offset);
    case 2:
      if (int64_t* offset = draw.of(parameter->moment_offsets)) draw.change(*offset);
      return;
    case 3: return parameter->moment_offsets.clear();
    case 4: return mutate_type(parameter->type, draw);
    default: return draw.change(draw.below(2) ? parameter->owned_begin : parameter->owned_end);
  }
}

void mutate_bucket(RankPlan& plan, Draw& draw) {
  if (draw.below(2)) plan.state_buckets.push_back({0, draw.odd(0), draw.odd(kWidth), 0.5f, 0});
  Bucket* bucket = draw.of(plan.gradient_buckets);
  if (!bucket) return;
  switch (draw.below(4)) {
    case 0: return draw.change(bucket->group);
    case 1: return draw.change(bucket->offset);
    case 2: return draw.change(bucket->length);
    default: return draw.change(bucket->piece_length);
  }
}

void change(RankPlan& plan, Executable& executable, Draw& draw) {
  Program* program = draw.of(executable.programs);
  switch (draw.below(16)) {
    case 0: return mutate_space(plan.spaces, plan.persistent_bytes, draw);
    case 1: return mutate_parameter(plan, draw);
    case 2: return mutate_bucket(plan, draw);
    case 3: return draw.change(draw.below(2) ? plan.dp : plan.rank);
    case 4:
      plan.optimizer.kind = static_cast<OptimizerPlan::Kind>(draw.below(4));
      plan.clip_norm = draw.below(2) ? 1.0 : 0;
      return;
    case 5:
    case 6: return mutate_space(executable.spaces, executable.arena_bytes, draw);
    case 7: return draw.change(executable.num_micro_batches);
    case 8:
    case 9: return mutate_instruction(executable.schedule, draw);
    case 10:
      if (ConstantPlan* constant = draw.of(executable.constants)) {
        if (draw.below(2)) draw.change(constant->offset);
        else constant->data.resize(draw.below(400));
      }
      return;
    case 11:
      if (draw.below(2)) executable.metrics.resize(draw.below(40), "more");
      else executable.outputs.push_back({"more", row(), draw.odd(0)});
      return;
    case 12:
      if (InputPlan* field = draw.of(executable.inputs)) {
        if (draw.below(2)) draw.change(field->offset);
        else mutate_type(field->type, draw);
      }
      return;
    case 13:
      if (program) {
        if (ProgramNode* node = draw.of(program->nodes)) mutate_node(*node, *program, draw);
      }
      return;
    case 14:
      if (program && draw.below(4) == 0) draw.change(program->chunk);
      else if (program && draw.below(3) == 0) program->kind = static_cast<ProgramKind>(draw.below(4));
      else if (program && program->nodes.size() > 1) std::swap(program->nodes.front(), program->nodes.back());
      return;
    default:
      if (program) {
        if (ProgramValue* value = draw.of(program->values)) {
          switch (draw.below(3)) {
            case 0: return draw.change(value->offset);
            case 1: return mutate_type(value->type, draw);
            default: value->space = static_cast<Space>(draw.below(kNumSpaces));
          }
        }
      }
  }
}

}  // namespace

RankPlan small_plan(int rank, int dp) {
  RankPlan plan;
  plan.rank = plan.dp_index = rank;
  plan.dp = dp;
  std::vector<int> ranks;
  for (int r = 0; r < dp; r++) ranks.push_back(r);
  plan.groups = {{0, "dp", ranks}, {1, "world", ranks}};
  plan.spaces[static_cast<int>(Space::parameters)] = {0, {64}};
  plan.spaces[static_cast<int>(Space::gradients)] = {64, {64}};
  plan.spaces[static_cast<int>(Space::optimizer)] = {128, {64}};
  plan.persistent_bytes = 192;
  RankParameter weight;
  weight.name = "w";
  weight.type = row();
  weight.trainable = weight.counts_in_norm = true;
  weight.gradient_offset = 0;
  weight.moment_offsets = {0};
  weight.owned_end = kWidth;
  plan.parameters = {weight};
  plan.gradient_buckets = {{dp > 1 ? 0 : -1, 0, kWidth, 1.0f / static_cast<float>(dp), 0}};
  plan.optimizer.kind = OptimizerPlan::Kind::momentum;
  plan.optimizer.momentum = 0.5;
  return plan;
}

Executable small_executable() {
  Executable executable;
  executable.name = "train";
  executable.num_micro_batches = 2;
  int64_t base = 0;
  const auto space = [&](Space which, int64_t bytes, int64_t slots) {
    executable.spaces[static_cast<int>(which)] = {base, std::vector<int64_t>(static_cast<size_t>(slots), bytes)};
    base += bytes * slots;
  };
  space(Space::constants, 64, 1);
  space(Space::metrics, 64, 1);
  space(Space::batch, 64, 2);
  space(Space::saved, 64, 2);
  space(Space::scratch, 128, 1);
  executable.arena_bytes = base;
  Program forward;
  forward.values = {{row(), Space::batch, 0},   {row(), Space::parameters, 0}, {row(), Space::scratch, 0}, {scalar(), Space::scratch, 64},
                    {scalar(), Space::constants, 0}, {scalar(), Space::scratch, 0}, {scalar(), Space::metrics, 0}, {row(), Space::saved, 0}};
  forward.nodes = {{"Multiply", "", {0, 1}, {"a", "b"}, {2}, {}},
                   {"Sum", "", {2}, {"x"}, {3}, {}},
                   {"Add", "", {3, 4}, {"a", "b"}, {5}, {}},
                   {"MerakAccumulate", "", {5}, {"x"}, {6}, {}},
                   {"Identity", "", {0}, {"x"}, {7}, {}}};
  Program backward;
  backward.kind = ProgramKind::backward;
  backward.values = {{row(), Space::saved, 0}, {row(), Space::gradients, 0}};
  backward.nodes = {{"MerakAccumulate", "", {0}, {"x"}, {1}, {}}};
  executable.programs = {forward, backward};
  Instruction none;
  none.slots.fill(-1);
  const auto add = [&](Op op, int64_t micro) {
    Instruction instruction = none;
    instruction.op = op;
    instruction.micro = micro;
    if (op == Op::load) instruction.slot = micro;
    instruction.slots[static_cast<int>(Space::batch)] = micro;
    instruction.slots[static_cast<int>(Space::saved)] = micro;
    executable.schedule.push_back(instruction);
  };
  add(Op::zero, 0);
  for (const int64_t micro : {0, 1}) {
    add(Op::load, micro);
    add(Op::forward, micro);
  }
  for (const int64_t micro : {0, 1}) add(Op::backward, micro);
  add(Op::reduce, 0);
  add(Op::update, 0);
  executable.inputs = {{"x", row(), 0}};
  executable.metrics = {"loss"};
  const float one = 1;
  ConstantPlan constant{0, std::vector<uint8_t>(sizeof one)};
  std::memcpy(constant.data.data(), &one, sizeof one);
  executable.constants = {constant};
  return executable;
}

void mutate(RankPlan& plan, Executable& executable, uint32_t seed) {
  Draw draw(seed);
  for (size_t i = 0, times = 1 + draw.below(3); i < times; i++) change(plan, executable, draw);
}

}  // namespace merak::test
