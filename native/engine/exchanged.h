// How much of an arena ranks exchange: peers must be able to map that much of its front.
#pragma once
#include "engine/program.h"  // RankPlan, Executable

namespace merak {

// Of the persistent arena: parameters and gradients, which the coordinator, too, reads and writes in place. Optimizer moments are
// the rank's own.
int64_t exchanged_bytes(const RankPlan& plan);

// Of an executable's: up to the last space that takes part in a collective or holds messages to send.
int64_t exchanged_bytes(const Executable& executable, const RankPlan& plan);

}  // namespace merak
