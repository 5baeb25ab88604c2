// Turning a program into kernels: peephole rewrites, then one kernel per remaining node.
#include "engine/compile.h"

#include <algorithm>  // std::max
#include <map>        // readers of a weight
#include <set>        // kernel families

#include "engine/kept_weights.h"  // KeptWeights
namespace merak {
namespace {

const std::set<std::string> kViews = {"Reshape", "Identity", "ExpandDims", "MerakFanOut"};
// Kernels that may keep their second input, a weight, in the layout they like.
const std::set<std::string> kProducts = {"BatchMatMul", "_FusedMatMul", "MerakProduct", "MerakQuantisedMatMul"};

bool is_view(const ProgramNode& node) { return kViews.contains(node.kernel); }

class Rewriter {
 public:
  explicit Rewriter(const Program& program) : program_(program), nodes_(program.nodes), dropped_(nodes_.size(), false) {
    // What is rewritten is looked at before its kernel's contract is.
    for (const ProgramNode& node : nodes_) {
      const size_t least = is_view(node) ? 1 : node.kernel == "Add" || node.kernel == "BatchMatMul" ? 2 : 0;
      if (least > 0 && (node.inputs.size() < least || node.outputs.size() != 1)) throw std::runtime_error(node.kernel + ": the number of inputs or outputs is wrong");
    }
    num_uses_.assign(program.values.size(), 0);
    for (const ProgramNode& node : nodes_)
      for (const int value : node.inputs) num_uses_[value]++;
  }

  void rewrite() {
    for (size_t i = 0; i < nodes_.size(); i++)
      if (!dropped_[i] && does_nothing(nodes_[i])) dropped_[i] = true;
    for (size_t i = 0; i + 1 < nodes_.size(); i++) join_bias(i);
  }

  const std::vector<ProgramNode>& nodes() const { return nodes_; }
  bool dropped(size_t index) const { return dropped_[index]; }

 private:
  const ProgramValue& value(int id) const { return program_.values[id]; }
  bool same_place(int a, int b) const { return value(a).space == value(b).space && value(a).offset == value(b).offset; }

  bool does_nothing(const ProgramNode& node) const { return is_view(node) && same_place(node.inputs[0], node.outputs[0]); }

  bool overlaps(int a, int b) const {
    const ProgramValue &x = value(a), &y = value(b);
    if (x.space != y.space) return false;
    return x.offset < y.offset + static_cast<int64_t>(y.type.bytes()) && y.offset < x.offset + static_cast<int64_t>(x.type.bytes());
  }

  size_t next_kept(size_t index) const {
    do index++;
    while (index < nodes_.size() && dropped_[index]);
    return index;
  }

  // product + bias row, the very next thing, becomes one kernel unless the sum would lie over what the product still reads.
  void join_bias(size_t index) {
    if (dropped_[index] || nodes_[index].kernel != "BatchMatMul" || nodes_[index].attrs.has("accumulate")) return;
    const size_t next = next_kept(index);
    if (next >= nodes_.size() || nodes_[next].kernel != "Add") return;
    ProgramNode& product = nodes_[index];
    ProgramNode& add = nodes_[next];
    const int sum = add.outputs[0], result = product.outputs[0];
    if (num_uses_[result] != 1 || value(result).space != Space::scratch) return;
    if (add.inputs[0] != result && add.inputs[1] != result) return;
    const int bias = add.inputs[0] == result ? add.inputs[1] : add.inputs[0];
    if (value(bias).type.shape.size() != 1 || value(bias).type.dtype != DType::f32) return;
    const Shape& shape = value(result).type.shape;
    if (shape.empty() || value(sum).type.shape != shape || value(bias).type.shape[0] != shape.back() || value(result).type.numel() == 0) return;
    if (overlaps(sum, product.inputs[0]) || overlaps(sum, product.inputs[1]) || overlaps(sum, bias)) return;
    product.kernel = "_FusedMatMul";
    product.inputs.push_back(bias);
    product.input_names.push_back("bias");
    product.outputs[0] = sum;
    dropped_[next] = true;
  }

  const Program& program_;
  std::vector<ProgramNode> nodes_;
  std::vector<bool> dropped_;
  std::vector<int> num_uses_;
};

// Right operands of products that are parameters, and how many products read them.
class Weights {
 public:
  explicit Weights(const Program& program) : program_(program) {
    for (const ProgramNode& node : program.nodes)
      if (const ProgramValue* weight = of(node)) num_readers_[weight->offset]++;
  }
  // Null where a product has no such weight.
  const ProgramValue* of(const ProgramNode& node) const {
    if (node.inputs.size() < 2 || !kProducts.contains(node.kernel)) return nullptr;
    const ProgramValue& weight = program_.values[static_cast<size_t>(node.inputs[1])];
    return weight.space == Space::parameters ? &weight : nullptr;
  }
  int num_readers(const ProgramValue& weight) const { return num_readers_.at(weight.offset); }

 private:
  const Program& program_;
  std::map<int64_t, int> num_readers_;
};

// The node as it is when nothing was added before; empty kernel name when there is no such form.
NodeSpec starting(NodeSpec spec) {
  if (spec.kernel == "MerakAccumulate") {
    spec.kernel = "MerakAssign";
    if (spec.inputs[0].dtype != spec.outputs[0].dtype) spec.kernel.clear();
  } else if (spec.attrs.flag("accumulate", false)) {
    spec.attrs.values["accumulate"] = false;
  } else {
    spec.kernel.clear();
  }
  return spec;
}

bool meet(const ByteRange& a, const ByteRange& b) { return a.begin < b.end && b.begin < a.end; }

ByteRange range_of(const ProgramValue& value) { return {value.offset, value.offset + static_cast<int64_t>(value.type.bytes())}; }

// The byte of a value among the parameters where it is one that nobody writes, else -1.
int64_t parameter_at(const ProgramValue& value, const std::vector<ByteRange>& written) {
  const auto is_over = [&](const ByteRange& range) { return meet(range, range_of(value)); };
  return value.space == Space::parameters && std::none_of(written.begin(), written.end(), is_over) ? value.offset : -1;
}

GradientRange range_of(const CompiledNode& node, const Program& program) {
  const int64_t begin = node.outputs[0].offset;
  return {begin, begin + static_cast<int64_t>(program.values[static_cast<size_t>(node.output_values[0])].type.bytes())};
}

Place place_of(const ProgramValue& value) { return {value.space, value.offset}; }

void check_bounds(const ProgramValue& value, const Spaces& spaces, const ProgramNode& node) {
  const SpacePlan& space = spaces[static_cast<int>(value.space)];
  if (value.offset < 0 || value.offset + static_cast<int64_t>(value.type.bytes()) > space.largest())
    throw std::runtime_error(node.kernel + (node.scope.empty() ? "" : " in " + node.scope) +
                             ": a value lies outside its space in the memory map");
}

}  // namespace

std::vector<ByteRange> written_parameters(const Executable& executable) {
  std::vector<ByteRange> written;
  for (const Program& program : executable.programs)
    for (const ProgramNode& node : program.nodes)
      for (const int output : node.outputs) {
        const ProgramValue& value = program.values[static_cast<size_t>(output)];
        if (value.space == Space::parameters) written.push_back(range_of(value));
      }
  return written;
}

CompiledProgram compile_program(const Program& program, const Spaces& spaces, bool repeats, const std::shared_ptr<KeptWeights>& kept,
                                const std::vector<ByteRange>& written, const KernelMaker& make) {
  Rewriter rewriter(program);
  rewriter.rewrite();
  CompiledProgram compiled;
  compiled.program = &program;
  std::vector<GradientRange> begun;
  const Weights weights(program);
  for (size_t i = 0; i < rewriter.nodes().size(); i++) {
    if (rewriter.dropped(i)) continue;
    const ProgramNode& node = rewriter.nodes()[i];
    NodeSpec spec;
    spec.kernel = node.kernel;
    spec.scope = node.scope;
    spec.input_names = node.input_names;
    spec.attrs = node.attrs;
    CompiledNode result;
    result.node = static_cast<int>(i);
    result.input_values = node.inputs;
    result.output_values = node.outputs;
    for (const int id : node.inputs) {
      check_bounds(program.values[id], spaces, node);
      spec.inputs.push_back(program.values[id].type);
      spec.parameter_at.push_back(parameter_at(program.values[id], written));
      result.inputs.push_back(place_of(program.values[id]));
    }
    for (const int id : node.outputs) {
      check_bounds(program.values[id], spaces, node);
      spec.outputs.push_back(program.values[id].type);
      result.outputs.push_back(place_of(program.values[id]));
    }
    const ProgramValue* weight = weights.of(node);
    if (weight && spec.parameter_at[1] >= 0) {
      spec.attrs.values["weightStays"] = repeats || weights.num_readers(*weight) > 1;
      spec.kept = kept;
    }
    result.kernel = make(spec);
    compiled.scratch_bytes = std::max(compiled.scratch_bytes, result.kernel->scratch_bytes());
    if (result.outputs.size() == 1 && result.outputs[0].space == Space::gradients) {
      const GradientRange range = range_of(result, program);
      const NodeSpec alone = starting(spec);
      const bool is_first = std::none_of(begun.begin(), begun.end(), [&](const GradientRange& other) { return meet(range, other); });
      if (is_first && !alone.kernel.empty()) {
        result.first = make(alone);
        compiled.scratch_bytes = std::max(compiled.scratch_bytes, result.first->scratch_bytes());
      }
      begun.push_back(range);
    }
    compiled.max_pointers = std::max(compiled.max_pointers, node.inputs.size() + node.outputs.size());
    compiled.nodes.push_back(std::move(result));
  }
  return compiled;
}

size_t kept_bytes(const CompiledProgram& program) {
  size_t bytes = 0;
  for (const CompiledNode& node : program.nodes) bytes += node.kernel->kept_bytes() + (node.first ? node.first->kept_bytes() : 0);
  return bytes;
}

bool changes_parameters(const Executable& executable) {
  for (const Instruction& instruction : executable.schedule)
    if (instruction.op == Op::backward || instruction.op == Op::update || instruction.op == Op::reduce_state) return true;
  return !written_parameters(executable).empty();
}

Workspace workspace_of(const Executable& executable, const KernelMaker& make) {
  const bool repeats = executable.num_micro_batches > 1 || !changes_parameters(executable);
  const auto kept = std::make_shared<KeptWeights>();
  const std::vector<ByteRange> written = written_parameters(executable);
  Workspace workspace;
  for (const Program& program : executable.programs) {
    const CompiledProgram compiled = compile_program(program, executable.spaces, repeats, kept, written, make);
    workspace.scratch_bytes = std::max(workspace.scratch_bytes, compiled.scratch_bytes);
    workspace.kept_bytes += kept_bytes(compiled);
  }
  return workspace;
}

std::vector<GradientRange> settle_gradient_starts(std::vector<CompiledProgram>& programs, int64_t gradient_bytes) {
  // Every write to a gradient, by program.
  std::vector<std::vector<GradientRange>> written(programs.size());
  for (size_t p = 0; p < programs.size(); p++)
    for (const CompiledNode& node : programs[p].nodes)
      if (node.outputs.size() == 1 && node.outputs[0].space == Space::gradients) written[p].push_back(range_of(node, *programs[p].program));
  std::vector<GradientRange> started;
  for (size_t p = 0; p < programs.size(); p++)
    for (CompiledNode& node : programs[p].nodes) {
      if (!node.first) continue;
      const GradientRange range = range_of(node, *programs[p].program);
      bool shared = false;
      for (size_t other = 0; other < programs.size(); other++)
        for (const GradientRange& one : written[other]) shared = shared || (other != p && meet(range, one));
      if (shared) node.first.reset();
      else started.push_back(range);
    }
  std::sort(started.begin(), started.end(), [](const GradientRange& a, const GradientRange& b) { return a.begin < b.begin; });
  std::vector<GradientRange> left;
  int64_t at = 0;
  for (const GradientRange& range : started) {
    if (range.begin > at) left.push_back({at, range.begin});
    at = std::max(at, range.end);
  }
  if (at < gradient_bytes) left.push_back({at, gradient_bytes});
  return left;
}

}  // namespace merak
