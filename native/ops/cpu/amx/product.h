// Products of bfloat16 matrices on the processor's tile unit (Intel AMX), block by block.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // uint16_t

#include "ops/cpu/isa/finish.h"  // Finish

namespace merak::amx {

// Whether this processor, this kernel and this build have tiles, and MERAK_ISA (isa/dispatch.h) does not forbid them. Asks Linux for
// the permission to use them, once.
bool available();

// A [m, k] row-major, rows `stride` >= k rounded up to 32 elements apart (zeros past k); B packed in strips of 32 columns (isa/bf16.h).
struct Product {
  const uint16_t* a;
  size_t stride;
  const uint16_t* packed_b;
  size_t m, n, k;
  bool accumulate;  // out += a b; only where `finish` is plain and float32
};

// How many rows of A a thread should multiply at a time, so that what is read over and over stays in the second-level cache: a right
// operand of k x n, or the rows. `copies`: the rows are copied first.
size_t rows_at_once(size_t n, size_t k, bool copies);

// Floats that `multiply` wants for sums that are not finished yet.
constexpr size_t kPendingBlocks = 48, kPendingSums = kPendingBlocks * 32 * 32;

// Strips [strip_begin, strip_end) of the result, on this thread. `sums` has room for kPendingSums.
void multiply(const Product& product, const Finish& finish, size_t strip_begin, size_t strip_end, float* sums);

}  // namespace merak::amx
