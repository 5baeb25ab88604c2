// Turning a program into kernels, once: nodes that do nothing are dropped, accumulations join the product they add.
#pragma once
#include <functional>  // KernelMaker

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
  // For a node that adds to a gradient nothing added to before it in this program: the same node, writing instead of adding. Stands in
  // for `kernel` in the program's first run of a step, so that nobody has to zero that gradient.
  std::unique_ptr<Kernel> first;
  double seconds = 0;  // spent in the kernel since it was compiled
  int64_t num_runs = 0;
};

struct CompiledProgram {
  const Program* program = nullptr;
  std::vector<CompiledNode> nodes;
  size_t scratch_bytes = 0;  // the largest workspace of a node
  size_t max_pointers = 0;   // the most inputs plus outputs of a node
  bool starts = false;       // the next run is its first of the step
};

// Bytes [begin, end) of a persistent space.
struct ByteRange {
  int64_t begin, end;
};

// The parameters that programs of the executable write.
std::vector<ByteRange> written_parameters(const Executable& executable);

// Makes the kernel of a node; throws as compile_kernel (engine/registry.h), which is the processor's.
using KernelMaker = std::function<std::unique_ptr<Kernel>(const NodeSpec&)>;

// `repeats`: the program runs several times before parameters change, so that products may keep a weight in the layout they like.
// `kept` and `written`: one for all programs of an executable. `program` must outlive the result. Throws Unsupported or std::runtime_error
// naming the node.
CompiledProgram compile_program(const Program& program, const Spaces& spaces, bool repeats, const std::shared_ptr<KeptWeights>& kept,
                                const std::vector<ByteRange>& written, const KernelMaker& make);

// What the kernels of a program keep from run to run.
size_t kept_bytes(const CompiledProgram& program);

// Whether a run of it may leave other parameters than it found.
bool changes_parameters(const Executable& executable);

// What an executable's kernels take beside its arenas on this machine: nothing of it is allocated.
struct Workspace {
  size_t scratch_bytes = 0;  // shared by all executables of an engine: the largest counts
  size_t kept_bytes = 0;     // its own
};
// `executable` has the persistent spaces of its plan. Depends on the number of OpenMP threads of the calling thread.
Workspace workspace_of(const Executable& executable, const KernelMaker& make);

// Bytes of `gradients`.
using GradientRange = ByteRange;
// Settles who starts which gradient: where two programs would start the same one, neither does. What is left must be zeroed before a
// step, ascending and disjoint.
std::vector<GradientRange> settle_gradient_starts(std::vector<CompiledProgram>& programs, int64_t gradient_bytes);

}  // namespace merak
