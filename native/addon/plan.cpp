// A RankPlan and its Executables from JavaScript, field by field.
#include "addon/plan.h"

#include <cmath>  // nan

#include "addon/convert.h"  // fields
#include "engine/error.h"   // EngineError

namespace merak {
namespace {

template <class Result, class Convert>
std::vector<Result> list(const Napi::Object& object, const char* name, Convert convert) {
  const Napi::Array array = array_field(object, name);
  std::vector<Result> results;
  results.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) {
    Napi::HandleScope scope(object.Env());
    results.push_back(convert(array.Get(i)));
  }
  return results;
}

int64_t integer(double value, const char* name) {
  // Refuses NaN too.
  if (!(value >= -9007199254740991.0 && value <= 9007199254740991.0)) throw EngineError("plan/invalid", std::string("field '") + name + "' must be an integer");
  return static_cast<int64_t>(value);
}
int64_t integer(const Napi::Object& object, const char* name) { return integer(number_field(object, name), name); }
int int32(const Napi::Object& object, const char* name) {
  const int64_t value = integer(object, name);
  if (value != static_cast<int32_t>(value)) throw EngineError("plan/invalid", std::string("field '") + name + "' must be an int32");
  return static_cast<int>(value);
}
int to_int(const Napi::Value& value) { return value.ToNumber().Int32Value(); }
int64_t to_slot_bytes(const Napi::Value& value) { return integer(value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan(""), "slotBytes"); }
std::string to_text(const Napi::Value& value) { return value.ToString().Utf8Value(); }

Space to_space(const std::string& name) {
  static const std::array<const char*, kNumSpaces> names = {"parameters", "gradients", "optimizer", "constants",
                                                            "metrics", "batch", "received", "sent", "saved",
                                                            "receivedGradients", "sentGradients", "scratch", "pending", "recomputed"};
  for (int i = 0; i < kNumSpaces; i++)
    if (name == names[i]) return static_cast<Space>(i);
  throw EngineError("plan/invalid", "no space is called " + name);
}

Spaces to_spaces(const Napi::Object& object, const char* name) {
  Spaces spaces{};
  const Napi::Array array = array_field(object, name);
  for (uint32_t i = 0; i < array.Length(); i++) {
    const auto item = array.Get(i).As<Napi::Object>();
    spaces[static_cast<int>(to_space(text_field(item, "space")))] = {integer(item, "base"), list<int64_t>(item, "slotBytes", to_slot_bytes)};
  }
  return spaces;
}

// Of the rank's model chunks; 0 where it is not said.
int chunk_of(const Napi::Object& object) {
  constexpr int64_t kMostChunks = 1 << 16;
  const int64_t chunk = object.Get("chunk").IsNumber() ? integer(object, "chunk") : 0;
  if (chunk < 0 || chunk >= kMostChunks) throw EngineError("plan/invalid", "no model has a chunk " + std::to_string(chunk));
  return static_cast<int>(chunk);
}

Program to_program(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  Program program;
  const std::string kind = text_field(object, "kind");
  program.kind = kind == "forward" ? ProgramKind::forward : kind == "recompute" ? ProgramKind::recompute : kind == "weights" ? ProgramKind::weights : ProgramKind::backward;
  program.chunk = chunk_of(object);
  program.values = list<ProgramValue>(object, "values", [](const Napi::Value& item) {
    const auto entry = item.As<Napi::Object>();
    return ProgramValue{to_tensor_type(entry), to_space(text_field(entry, "space")), integer(entry, "offset")};
  });
  const int num_values = static_cast<int>(program.values.size());
  const auto to_value = [num_values](const Napi::Value& item) {
    const int id = to_int(item);
    if (id < 0 || id >= num_values) throw EngineError("plan/invalid", "a node names a value that does not exist");
    return id;
  };
  program.nodes = list<ProgramNode>(object, "nodes", [&](const Napi::Value& item) {
    const auto entry = item.As<Napi::Object>();
    return ProgramNode{text_field(entry, "kernel"),
                       text_field(entry, "scope"),
                       list<int>(entry, "inputs", to_value),
                       list<std::string>(entry, "inputNames", to_text),
                       list<int>(entry, "outputs", to_value),
                       to_attrs(object_field(entry, "attrs"))};
  });
  return program;
}

Op to_op(const std::string& kind) {
  static const std::array<const char*, 12> names = {"load", "forward", "recompute", "backward", "weights", "send",
                                                    "receive", "handOver", "zero", "reduce", "reduceState", "update"};
  for (size_t i = 0; i < names.size(); i++)
    if (kind == names[i]) return static_cast<Op>(i);
  throw EngineError("plan/invalid", "no instruction is called " + kind);
}

Instruction to_instruction(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  Instruction instruction;
  instruction.op = to_op(text_field(object, "kind"));
  const auto optional = [&](const char* name, int64_t fallback) {
    return object.Get(name).IsNumber() ? integer(object, name) : fallback;
  };
  instruction.micro = optional("micro", 0);
  instruction.slot = optional("slot", -1);
  instruction.peer = object.Get("peer").IsNumber() ? int32(object, "peer") : -1;
  instruction.chunk = chunk_of(object);
  instruction.bytes = optional("bytes", 0);
  instruction.to = optional("to", -1);
  if (object.Get("what").IsString())
    instruction.message = text_field(object, "what") == "gradient" ? Message::gradient : Message::activation;
  instruction.slots.fill(-1);
  if (object.Get("slots").IsObject()) {
    const Napi::Object slots = object_field(object, "slots");
    for (const char* name : {"batch", "received", "sent", "saved", "receivedGradients", "sentGradients", "pending", "recomputed"})
      instruction.slots[static_cast<int>(to_space(name))] = integer(slots, name);
  }
  return instruction;
}

InputPlan to_field(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {text_field(object, "name"), to_tensor_type(object), integer(object, "offset"), chunk_of(object)};
}

Bucket to_bucket(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  return {int32(object, "group"), integer(object, "offset"), integer(object, "length"),
          static_cast<float>(number_field(object, "scale")), object.Has("pieceLength") ? integer(object, "pieceLength") : 0};
}

OptimizerPlan to_optimizer(const Napi::Object& object) {
  using Kind = OptimizerPlan::Kind;
  OptimizerPlan plan;
  const std::string kind = text_field(object, "kind");
  if (kind == "sgd") {
    plan.kind = Kind::sgd;
  } else if (kind == "momentum") {
    plan.kind = Kind::momentum;
    plan.momentum = number_field(object, "momentum");
    plan.nesterov = flag_field(object, "nesterov");
  } else if (kind == "rmsprop") {
    plan.kind = Kind::rmsprop;
    plan.decay = number_field(object, "decay");
    plan.momentum = number_field(object, "momentum");
    plan.epsilon = number_field(object, "epsilon");
    plan.centered = flag_field(object, "centered");
  } else if (kind == "adam") {
    plan.kind = Kind::adam;
    plan.beta1 = number_field(object, "beta1");
    plan.beta2 = number_field(object, "beta2");
    plan.epsilon = number_field(object, "epsilon");
    plan.weight_decay = number_field(object, "weightDecay");
  } else {
    throw EngineError("plan/invalid", "no optimizer is called " + kind);
  }
  return plan;
}

RankParameter to_parameter(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  RankParameter parameter;
  parameter.name = text_field(object, "name");
  parameter.type = to_tensor_type(object);
  parameter.trainable = flag_field(object, "trainable");
  parameter.offset = integer(object, "offset");
  parameter.gradient_offset = integer(object, "gradientOffset");
  parameter.moment_offsets =
      list<int64_t>(object, "momentOffsets", [](const Napi::Value& item) { return item.ToNumber().Int64Value(); });
  parameter.owned_end = parameter.type.numel();
  if (object.Get("owned").IsObject()) {
    const Napi::Object owned = object_field(object, "owned");
    parameter.owned_begin = integer(owned, "begin");
    parameter.owned_end = integer(owned, "end");
    if (parameter.owned_begin < 0 || parameter.owned_end < parameter.owned_begin || parameter.owned_end > parameter.type.numel())
      throw EngineError("plan/invalid", "parameter " + parameter.name + " owns elements that it does not have");
  }
  parameter.counts_in_norm = flag_field(object, "countsInNorm");
  parameter.decays = flag_field(object, "decays");
  return parameter;
}

GroupSpec to_group(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  GroupSpec group;
  group.id = int32(object, "id");
  group.axis = text_field(object, "axis");
  group.ranks = list<int>(object, "ranks", to_int);
  return group;
}

}  // namespace

RankPlan to_rank_plan(const Napi::Object& object) {
  RankPlan plan;
  plan.rank = int32(object, "rank");
  plan.dp_index = int32(object_field(object, "coordinates"), "dp");
  const Napi::Object mesh = object_field(object, "mesh");
  plan.dp = int32(mesh, "dp");
  plan.tp = int32(mesh, "tp");
  plan.pp = int32(mesh, "pp");
  plan.groups = list<GroupSpec>(object, "groups", to_group);
  plan.parameters = list<RankParameter>(object, "parameters", to_parameter);
  plan.spaces = to_spaces(object, "persistentSpaces");
  plan.persistent_bytes = integer(object, "persistentBytes");
  plan.gradient_buckets = list<Bucket>(object, "gradientBuckets", to_bucket);
  plan.state_buckets = list<Bucket>(object, "stateBuckets", to_bucket);
  plan.optimizer = to_optimizer(object_field(object, "optimizer"));
  plan.clip_norm = number_field(object, "clipNorm");
  if (object.Get("lossScale").IsObject()) {
    const Napi::Object scale = object_field(object, "lossScale");
    plan.loss_scale = {number_field(scale, "initial"), number_field(scale, "growth"), number_field(scale, "backoff"), integer(scale, "interval")};
  }
  return plan;
}

Executable to_executable(const Napi::Object& object) {
  Executable executable;
  executable.name = text_field(object, "name");
  executable.num_micro_batches = integer(object, "numMicroBatches");
  executable.spaces = to_spaces(object, "spaces");
  executable.arena_bytes = integer(object, "arenaBytes");
  executable.programs = list<Program>(object, "programs", to_program);
  executable.schedule = list<Instruction>(object, "schedule", to_instruction);
  executable.inputs = list<InputPlan>(object, "inputs", to_field);
  executable.metrics = list<std::string>(object, "metrics", to_text);
  executable.outputs = list<OutputPlan>(object, "outputs", to_field);
  executable.constants = list<ConstantPlan>(object, "constants", [](const Napi::Value& item) {
    const auto entry = item.As<Napi::Object>();
    const Bytes bytes = to_bytes(entry.Get("data"));
    return ConstantPlan{integer(entry, "offset"), std::vector<uint8_t>(bytes.data, bytes.data + bytes.size)};
  });
  return executable;
}

Executable to_executable_of(const Napi::Object& object, const Napi::Object& plan) {
  Executable executable = to_executable(object);
  const Spaces persistent = to_spaces(plan, "persistentSpaces");
  for (int i = 0; i < kNumSpaces; i++)
    if (is_persistent(static_cast<Space>(i))) executable.spaces[i] = persistent[i];
  return executable;
}

}  // namespace merak
