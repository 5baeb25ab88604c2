// Cutting buckets where gradients become ready.
#include "engine/overlap.h"

#include <algorithm>  // sort

namespace merak {
namespace {

// Floats below which a chunk is not worth a meeting of its own: 2 MiB.
constexpr int64_t kLeastChunk = 1 << 19;

struct Write {
  int64_t begin, end;  // bytes
  size_t node;
};

std::vector<Write> writes_of(const CompiledProgram& program) {
  std::vector<Write> writes;
  for (size_t i = 0; i < program.nodes.size(); i++) {
    const CompiledNode& node = program.nodes[i];
    for (size_t o = 0; o < node.outputs.size(); o++)
      if (node.outputs[o].space == Space::gradients) {
        const int64_t begin = node.outputs[o].offset;
        const TensorType& type = program.program->values[static_cast<size_t>(node.output_values[o])].type;
        writes.push_back({begin, begin + static_cast<int64_t>(type.bytes()), i});
      }
  }
  return writes;
}

}  // namespace

OverlapPlan plan_overlap(const RankPlan& plan, const Executable& executable, const std::vector<CompiledProgram>& programs) {
  OverlapPlan overlap;
  const int dp_group = plan.dp > 1 ? plan.group_of("dp") : -1;
  if (dp_group < 0 || plan.tp > 1) return overlap;
  std::vector<Write> writes;
  int program = -1;
  for (size_t k = 0; k < programs.size(); k++) {
    std::vector<Write> some = writes_of(programs[k]);
    if (some.empty()) continue;
    if (program >= 0) return overlap;
    program = static_cast<int>(k);
    writes = std::move(some);
  }
  if (program < 0) return overlap;
  bool runs = false;
  for (size_t i = 0; i < executable.schedule.size(); i++)
    if (executable.schedule[i].program() == program) {
      overlap.instruction = i;
      runs = true;
    }
  if (!runs) return overlap;

  for (size_t b = 0; b < plan.gradient_buckets.size(); b++) {
    const Bucket& bucket = plan.gradient_buckets[b];
    if (bucket.group != dp_group || bucket.piece_length > 0) continue;
    const int64_t end = bucket.offset + bucket.length * 4;
    std::vector<int64_t> cuts;  // where parameters begin
    for (const RankParameter& parameter : plan.parameters)
      if (parameter.gradient_offset > bucket.offset && parameter.gradient_offset < end) cuts.push_back(parameter.gradient_offset);
    std::sort(cuts.begin(), cuts.end());
    cuts.push_back(end);
    // The last write to [begin, cut); the first node when nothing writes there (a frozen corner stays zero).
    const auto ready = [&](int64_t begin, int64_t cut) {
      size_t last = 0;
      for (const Write& write : writes)
        if (write.begin < cut && begin < write.end) last = std::max(last, write.node);
      return last;
    };
    int64_t begin = bucket.offset;
    for (const int64_t cut : cuts) {
      if (cut < end && cut - begin < kLeastChunk * 4) continue;
      overlap.chunks.push_back({b, begin, (cut - begin) / 4, ready(begin, cut)});
      begin = cut;
    }
  }
  if (!overlap.chunks.empty()) overlap.program = program;
  std::sort(overlap.chunks.begin(), overlap.chunks.end(), [](const GradientChunk& x, const GradientChunk& y) {
    return x.ready_after != y.ready_after ? x.ready_after < y.ready_after : x.offset < y.offset;
  });
  return overlap;
}

}  // namespace merak
