// The nodes of nodes.txt: one valid kernel call a line, every kernel at several types, shapes and attributes.
#pragma once
#include "engine/kernel.h"  // NodeSpec

namespace merak::test {

// Throws std::runtime_error with the line's number where one cannot be read.
const std::vector<NodeSpec>& recorded_nodes();

// Buffers of exactly the bytes a node's tensors have, each on the heap by itself, so that the address sanitizer sees every element
// read or written outside. Inputs hold small numbers, no NaN; with seed 0 integers are 0, a valid index anywhere.
struct Buffers {
  std::vector<std::unique_ptr<std::byte[]>> owned;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
};
Buffers buffers_of(const NodeSpec& spec, uint32_t seed);

// Bytes of all tensors together, as a double: no overflow.
double total_bytes(const NodeSpec& spec);

}  // namespace merak::test
