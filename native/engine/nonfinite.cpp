// Finding out where a NaN came from: the forward program of the micro-batch at hand is run once more, and every result looked at.
#include <algorithm>  // any_of
#include <chrono>     // how long peers may speak
#include <cmath>      // isinf
#include <thread>     // sleep
#include <vector>     // a copy

#include "engine/error.h"            // EngineError
#include "engine/step.h"             // Step
#include "ops/cpu/isa/optimizers.h"  // all_finite

namespace merak {
namespace {

// In 16 bits, infinities and NaN have every bit of the exponent set.
uint16_t exponent_bits(DType dtype) { return dtype == DType::bf16 ? 0x7f80 : 0x7c00; }

bool bad(const ProgramValue& value, const Bases& bases, Backend& backend) {
  const DType dtype = value.type.dtype;
  const auto count = static_cast<size_t>(value.type.numel());
  const std::byte* from = bases[static_cast<int>(value.space)] + value.offset;
  if (dtype == DType::f32) {
    std::vector<float> data(count);
    backend.read(data.data(), from, value.type.bytes());
    return !MERAK_PICK(all_finite)(data.data(), count);
  }
  if (dtype != DType::bf16 && dtype != DType::f16) return false;
  std::vector<uint16_t> data(count);
  backend.read(data.data(), from, value.type.bytes());
  const uint16_t bits = exponent_bits(dtype);
  return std::any_of(data.begin(), data.end(), [bits](uint16_t x) { return (x & bits) == bits; });
}

bool exchanges(const std::string& kernel) {
  return kernel.starts_with("MerakAll") || kernel.starts_with("MerakReduceScatter") || kernel == "MerakWait";
}

const char* origin_of(Space space) {
  switch (space) {
    case Space::received: return "an activation received from the stage before";
    case Space::batch: return "the batch itself";
    case Space::parameters: return "a parameter";
    case Space::constants: return "a constant of the model";
    default: return "a value computed before";
  }
}

}  // namespace

void Step::check_finite(const Instruction& instruction) {
  const NotFinite found = engine_.backend_->check_finite(loaded_, instruction.chunk, instruction.micro, plan_.metrics.empty() ? nullptr : metrics(),
                                                         space(Space::sent, instruction.slots[static_cast<int>(Space::sent)]));
  if (found.what != NotFinite::What::nothing) fail(found, instruction);
}

void Step::check_end(const StepEnd& end) {
  if (end.gradient_norm) result_.gradient_norm = *end.gradient_norm;
  if (end.overflowed && engine_.loss_scale_.scale <= kLeastLossScale) fail({NotFinite::What::norm, 0}, plan_.schedule.back());
  result_.overflowed = end.overflowed;
  if (end.not_finite.what == NotFinite::What::nothing) {
    if (updates_ && engine_.plan_.loss_scale.is_on()) engine_.loss_scale_ = after_step(engine_.plan_.loss_scale, engine_.loss_scale_, end.overflowed);
    return;
  }
  NotFinite found = end.not_finite;
  if (found.what == NotFinite::What::loss_nan && std::isinf(metrics_[0])) found.what = NotFinite::What::loss_infinite;
  fail(found, found.what == NotFinite::What::norm ? plan_.schedule.back() : load_again(found.micro));
}

const Instruction& Step::load_again(int64_t micro) {
  const Instruction* forward = nullptr;
  for (const Instruction& instruction : plan_.schedule) {
    if (instruction.micro != micro) continue;
    if (instruction.op == Op::load) load(instruction);
    if (instruction.op == Op::forward) forward = &instruction;
  }
  return forward ? *forward : plan_.schedule.back();
}

void Step::fail(const NotFinite& found, const Instruction& instruction) {
  const std::string when = " at step " + std::to_string(input_.step), rank = std::to_string(engine_.plan_.rank);
  const auto what = [&] {
    switch (found.what) {
      case NotFinite::What::loss_nan: return "the loss is NaN";
      case NotFinite::What::loss_infinite: return "the loss is infinite";
      default: return "an activation is NaN";
    }
  };
  if (found.what == NotFinite::What::norm)
    throw EngineError("engine/nan-loss", "the gradient norm is not finite" + when + " (rank " + rank + "), though the loss is");
  throw EngineError("engine/nan-loss", what() + when + " on rank " + rank + " (micro-batch " + std::to_string(found.micro) + "); " +
                                           first_not_finite(instruction));
}

std::string Step::first_not_finite(const Instruction& instruction) {
  CompiledProgram& compiled = loaded_.programs[static_cast<size_t>(instruction.program())];
  const Program& program = *compiled.program;
  const Bases bases = bases_of(instruction);
  std::vector<int> producer(program.values.size(), -1);
  for (size_t i = 0; i < compiled.nodes.size(); i++)
    for (const int value : compiled.nodes[i].output_values) producer[static_cast<size_t>(value)] = static_cast<int>(i);
  std::vector<bool> is_bad(program.values.size(), false);
  for (size_t id = 0; id < program.values.size(); id++)
    if (producer[id] < 0 && program.values[id].space != Space::scratch && program.values[id].space != Space::saved &&
        program.values[id].space != Space::recomputed)
      is_bad[id] = bad(program.values[id], bases, *engine_.backend_);
  // A dropped view is the value it views.
  std::vector<int> alias(program.values.size());
  for (size_t id = 0; id < alias.size(); id++) alias[id] = static_cast<int>(id);
  for (const ProgramNode& node : program.nodes)
    if (node.outputs.size() == 1 && producer[static_cast<size_t>(node.outputs[0])] < 0 && !node.inputs.empty())
      alias[static_cast<size_t>(node.outputs[0])] = alias[static_cast<size_t>(node.inputs[0])];

  int last = -1;  // the latest result that ends in the loss or in what is sent
  try {
    if (context_.comm) context_.comm->set_timeout(std::min(2.0, input_.timeout_seconds));
    for (size_t i = 0; i < compiled.nodes.size(); i++) {
      CompiledNode& node = compiled.nodes[i];
      bool leaves = false;
      for (const int id : node.output_values) leaves = leaves || program.values[static_cast<size_t>(id)].space == Space::parameters;
      if (leaves) continue;  // a state update, done already
      run_node(node, bases);
      for (const int id : node.output_values) {
        is_bad[static_cast<size_t>(id)] = bad(program.values[static_cast<size_t>(id)], bases, *engine_.backend_);
        const Space where = program.values[static_cast<size_t>(id)].space;
        if (is_bad[static_cast<size_t>(id)] && last < 0 && (where == Space::metrics || where == Space::sent)) last = static_cast<int>(i);
      }
    }
  } catch (const std::exception& error) {
    return std::string("the node that made it could not be found: ") + error.what();
  }
  if (last < 0) return "the node that made it could not be found: computing it again gave a finite value";
  for (;;) {
    const CompiledNode& node = compiled.nodes[static_cast<size_t>(last)];
    int leaf = -1, earlier = -1;
    for (const int id : node.input_values) {
      const int real = alias[static_cast<size_t>(id)];
      if (!is_bad[static_cast<size_t>(real)]) continue;
      if (producer[static_cast<size_t>(real)] >= 0 && producer[static_cast<size_t>(real)] < last) earlier = producer[static_cast<size_t>(real)];
      else if (producer[static_cast<size_t>(real)] < 0) leaf = real;
    }
    if (earlier >= 0) {
      last = earlier;
      continue;
    }
    const ProgramNode& origin = program.nodes[static_cast<size_t>(node.node)];
    std::string text = "the first non-finite value came out of " + origin.kernel;
    if (!origin.scope.empty()) text += " in " + origin.scope;
    text += " (forward program, node " + std::to_string(node.node) + ")";
    if (leaf < 0 && exchanges(origin.kernel)) {
      text += ", with what another rank brought";
      let_peers_speak();
    }
    if (leaf >= 0) {
      const ProgramValue& value = program.values[static_cast<size_t>(leaf)];
      text += std::string(", whose input was non-finite already: ") + origin_of(value.space);
      if (value.space == Space::parameters)
        for (const RankParameter& parameter : engine_.plan_.parameters)
          if (parameter.offset == value.offset) text += " (" + parameter.name + ")";
    }
    return text;
  }
}

void Step::let_peers_speak() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < deadline) {
    check_abort();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace merak
