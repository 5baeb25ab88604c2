// A RankPlan and its Executables from JavaScript (src/plan/plan.ts).
#pragma once
#include <napi.h>  // Node-API

#include "engine/program.h"  // RankPlan

namespace merak {

RankPlan to_rank_plan(const Napi::Object& object);
// With the persistent spaces of `plan`, as an engine of that plan has them.
Executable to_executable_of(const Napi::Object& executable, const Napi::Object& plan);
Executable to_executable(const Napi::Object& object);

}  // namespace merak
