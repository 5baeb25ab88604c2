// Which gradients can be all-reduced while the last backward pass still runs, and after which node.
#pragma once
#include "engine/compile.h"  // CompiledProgram

namespace merak {

// A run of gradients that is complete once node `ready_after` of the program has run.
struct GradientChunk {
  size_t bucket;        // index into RankPlan::gradient_buckets
  int64_t offset;       // bytes in `gradients`
  int64_t length;       // floats
  size_t ready_after;   // index into CompiledProgram::nodes
};

struct OverlapPlan {
  int program = -1;                  // the one that makes the gradients, by Program::index; -1: nothing overlaps
  size_t instruction = 0;            // its last run in the schedule
  std::vector<GradientChunk> chunks; // by ready_after, then offset: the same order on every replica
};

// Data-parallel buckets only, and only where one program makes all gradients and no tensor-parallel peer is waited for meanwhile: a
// direct collective waits for the queued ones.
OverlapPlan plan_overlap(const RankPlan& plan, const Executable& executable, const std::vector<CompiledProgram>& programs);

}  // namespace merak
