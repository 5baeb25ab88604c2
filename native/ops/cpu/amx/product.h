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

// How many rows of A to multiply with every strip before the next ones: what the second-level cache holds.
size_t rows_at_once(const Product& product);

// Rows [row_begin, row_end) (row_begin a multiple of 32) and strips [strip_begin, strip_end) of the result, on this thread.
void multiply(const Product& product, const Finish& finish, size_t row_begin, size_t row_end, size_t strip_begin, size_t strip_end);

}  // namespace merak::amx
