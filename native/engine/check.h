// Refusing malformed plans before anything is allocated or compiled.
#pragma once
#include "engine/program.h"  // RankPlan, Executable

namespace merak {

// Spaces inside their arena and apart from one another, groups, buckets and parameters inside their spaces. Throws EngineError
// 'plan/invalid' saying what is wrong.
void check_rank_plan(const RankPlan& plan);

// The same of an executable, whose persistent spaces are the plan's: values, fields, results and constants inside their spaces and
// aligned, instructions that name slots, micro-batches, peers and programs which exist.
void check_executable(const Executable& executable, const RankPlan& plan);

}  // namespace merak
