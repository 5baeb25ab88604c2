// Philox4x32-10 over runs of consecutive element indices.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // fixed-width integers

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

namespace merak {

struct RandomStream {
  uint64_t seed;
  uint32_t step, node;
};

}  // namespace merak

MERAK_ISA_DECLARE(
  // Words of all elements of the blocks [first_block, first_block + num_blocks), four each.
  void philox_blocks(const RandomStream& stream, uint64_t first_block, size_t num_blocks, uint32_t* words);
  // y = x * (word >> 8 >= threshold ? scale : 0).
  void keep_or_drop(const float* x, const uint32_t* words, uint32_t threshold, float scale, float* y, size_t n);)
