// One number to bfloat16 and back, for loops that compilers vectorise. Included by ops/cpu/isa/*.cpp only.
#pragma once
#include <bit>      // bit_cast
#include <cstdint>  // uint16_t

namespace merak::MERAK_ISA {

// The bits of x with the upper half rounded to nearest, ties to even; the lower half is rubbish. NaN stays NaN.
[[gnu::always_inline]] static inline uint32_t rounded(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
  return x == x ? nearest : bits | 0x400000u;
}
// The bfloat16 of x as the upper or lower half of a word.
[[gnu::always_inline]] static inline uint32_t upper(float x) { return rounded(x) & 0xffff0000u; }
[[gnu::always_inline]] static inline uint32_t lower(float x) { return rounded(x) >> 16; }
[[gnu::always_inline]] static inline uint32_t upper(uint16_t x) { return static_cast<uint32_t>(x) << 16; }
[[gnu::always_inline]] static inline uint32_t lower(uint16_t x) { return x; }
[[gnu::always_inline]] static inline float number(float x) { return x; }
[[gnu::always_inline]] static inline float number(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }
// What a float32 result becomes in memory.
[[gnu::always_inline]] static inline void store(float x, float* to) { *to = x; }
[[gnu::always_inline]] static inline void store(float x, uint16_t* to) { *to = static_cast<uint16_t>(lower(x)); }

}  // namespace merak::MERAK_ISA
