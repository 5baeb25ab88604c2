// Finding out where a NaN came from: the forward program of the micro-batch at hand is run once more, and every result looked at.
#include <cmath>  // isfinite

#include "engine/error.h"            // EngineError
#include "engine/step.h"             // Step
#include "ops/cpu/isa/optimizers.h"  // has_nan, all_finite

namespace merak {
namespace {

bool bad(const ProgramValue& value, const Bases& bases) {
  if (value.type.dtype != DType::f32) return false;
  const auto* data = reinterpret_cast<const float*>(bases[static_cast<int>(value.space)] + value.offset);
  return !MERAK_PICK(all_finite)(data, static_cast<size_t>(value.type.numel()));
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
  const auto fail = [&](const std::string& what) {
    const std::string where = first_not_finite(instruction);
    throw EngineError("engine/nan-loss", what + " at step " + std::to_string(input_.step) + " on rank " +
                                             std::to_string(engine_.plan_.rank) + " (micro-batch " +
                                             std::to_string(instruction.micro) + "); " + where);
  };
  if (!plan_.metrics.empty() && !std::isfinite(metrics()[0]))
    fail(std::isnan(metrics()[0]) ? "the loss is NaN" : "the loss is infinite");
  const std::byte* slot = space(Space::sent, instruction.slots[static_cast<int>(Space::sent)]);
  for (const auto& [offset, length] : loaded_.sent_floats[static_cast<size_t>(instruction.chunk)])
    if (MERAK_PICK(has_nan)(reinterpret_cast<const float*>(slot + offset), static_cast<size_t>(length)))
      fail("an activation is NaN");
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
      is_bad[id] = bad(program.values[id], bases);
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
        is_bad[static_cast<size_t>(id)] = bad(program.values[static_cast<size_t>(id)], bases);
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

}  // namespace merak
