// Transposing sixteen vectors of sixteen words. Included by ops/cpu/isa/*.cpp only.
#pragma once
#include <cstdint>  // uint32_t

namespace merak::MERAK_ISA {

typedef uint32_t Words __attribute__((vector_size(64)));

// One riffle: the lower eight vectors interleaved with the upper eight.
[[gnu::always_inline]] static inline void riffle(const Words* from, Words* to) {
  for (int i = 0; i < 8; i++) {
    to[2 * i] = __builtin_shuffle(from[i], from[i + 8], Words{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
    to[2 * i + 1] = __builtin_shuffle(from[i], from[i + 8], Words{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
  }
}

// In place: element j of vector i changes places with element i of vector j. A riffle turns the eight bits of an element's address by
// one place, so four of them swap vector and lane.
[[gnu::always_inline]] static inline void transpose16(Words* v) {
  Words t[16];
  riffle(v, t);
  riffle(t, v);
  riffle(v, t);
  riffle(t, v);
}

}  // namespace merak::MERAK_ISA
