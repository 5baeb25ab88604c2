// Turning a program into kernels, once: nodes that do nothing are dropped, accumulations join the product they add.
#pragma once
#include "engine/program.h"  // Program

namespace merak {

// Where a tensor of a program lies, but for the slot.
struct Place {
  Space space;
  int64_t offset;
};

struct CompiledNode {
  std::unique_ptr<Kernel> kernel;
  int node;  // index into Program::nodes, for messages
  std::vector<int> input_values, output_values;
  std::vector<Place> inputs, outputs;
  double seconds = 0;  // spent in the kernel since it was compiled
  int64_t num_runs = 0;
};

struct CompiledProgram {
  const Program* program = nullptr;
  std::vector<CompiledNode> nodes;
  size_t scratch_bytes = 0;  // the largest workspace of a node
  size_t max_pointers = 0;   // the most inputs plus outputs of a node
};

// `program` must outlive the result. Throws Unsupported or std::runtime_error naming the node.
CompiledProgram compile_program(const Program& program, const Spaces& spaces);

}  // namespace merak
