// CUDA C++ on a CPU, for tests without a GPU: put in front of a CUDA source, it lets g++ compile that source to a shared object.
//
// The stand-in compiler appends MERAK_EMULATED_ENTRY(name) for every kernel `name` of the source. It exports `name_launch`, which runs
// a grid block after block, every thread of a block on a fiber of its own, so that barriers, shuffles and the tensor cores'
// warp-wide instructions meet as they do on a card. Shared memory starts poisoned in every block; asynchronous copies happen as late
// as their waits allow; a barrier that not every thread reaches ends the process with a message.
// -DMERAK_EMULATION_REVERSED runs threads and blocks in the opposite order: what depends on an order that nobody promised differs.
#pragma once
#define MERAK_EMULATION 1

#include "emulation/language.h"  // keywords, vector types
#include "emulation/fibers.h"    // switching between threads
#include "emulation/block.h"     // blocks, barriers, launches
#include "emulation/warp.h"      // shuffles and votes
#include "emulation/tensor.h"    // mma, ldmatrix, asynchronous copies
#include "emulation/math.h"      // device functions
