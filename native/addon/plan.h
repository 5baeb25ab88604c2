// A RankPlan and its Executables from JavaScript (src/plan/plan.ts).
#pragma once
#include <napi.h>  // Node-API

#include "engine/program.h"  // RankPlan

namespace merak {

RankPlan to_rank_plan(const Napi::Object& object);
Executable to_executable(const Napi::Object& object);

}  // namespace merak
