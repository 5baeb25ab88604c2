// Malformed nodes from valid ones, the same for the same seed.
#pragma once
#include "engine/kernel.h"  // NodeSpec

namespace merak::test {

// One to three changes: dims (off by one, zero, negative, huge), ranks, dtypes, arity, names, attributes (missing, another type, NaN,
// huge, negative, longer or shorter lists).
NodeSpec mutated(NodeSpec spec, uint32_t seed);

}  // namespace merak::test
