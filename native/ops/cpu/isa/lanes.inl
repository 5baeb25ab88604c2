// Sixteen numbers at a time, for loops that compilers do not vectorise by themselves. Included by ops/cpu/isa/*.cpp only.
#pragma once
#if defined(__AVX512BF16__)
#include <immintrin.h>  // rounding
#endif

#include <bit>      // bit_cast
#include <cstdint>  // int32_t

#include "ops/cpu/isa/math.inl"      // constants
#include "ops/cpu/isa/rounding.inl"  // store

namespace merak::MERAK_ISA {

typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint32_t WordLanes __attribute__((vector_size(64)));
typedef uint16_t HalfLanes __attribute__((vector_size(32)));
constexpr int kLanes = 16;

[[gnu::always_inline]] static inline Lanes load_lanes(const float* x) {
  Lanes lanes;
  __builtin_memcpy(&lanes, x, sizeof lanes);
  return lanes;
}
[[gnu::always_inline]] static inline Lanes load_lanes(const uint16_t* x) {
  HalfLanes halves;
  __builtin_memcpy(&halves, x, sizeof halves);
  return std::bit_cast<Lanes>(__builtin_convertvector(halves, WordLanes) << 16);
}
[[gnu::always_inline]] static inline void store_lanes(const Lanes& lanes, float* y) { __builtin_memcpy(y, &lanes, sizeof lanes); }
// Rounded to nearest, ties to even; NaN stays NaN. (Numbers below 2^-126 become 0 where the processor rounds.)
[[gnu::always_inline]] static inline void store_lanes(const Lanes& lanes, uint16_t* y) {
#if defined(__AVX512BF16__)
  const auto halves = _mm512_cvtneps_pbh(std::bit_cast<__m512>(lanes));
#else
  const auto bits = std::bit_cast<WordLanes>(lanes);
  const WordLanes nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
  const HalfLanes halves = __builtin_convertvector((lanes == lanes ? nearest : bits | 0x400000u) >> 16, HalfLanes);
#endif
  __builtin_memcpy(y, &halves, sizeof halves);
}

[[gnu::always_inline]] static inline Lanes all_lanes(float x) { return Lanes{} + x; }
// Lane l holds `first` + l.
[[gnu::always_inline]] static inline IntLanes count_lanes(int first) {
  return IntLanes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
}
[[gnu::always_inline]] static inline Lanes larger(const Lanes& x, const Lanes& y) { return x > y ? x : y; }

// Sixteen to one, as a tree.
[[gnu::always_inline]] static inline float sum_of(Lanes x) {
  x += __builtin_shuffle(x, IntLanes{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
  x += __builtin_shuffle(x, IntLanes{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
  x += __builtin_shuffle(x, IntLanes{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
  return x[0] + x[1];
}
[[gnu::always_inline]] static inline float max_of(Lanes x) {
  x = larger(x, __builtin_shuffle(x, IntLanes{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}));
  x = larger(x, __builtin_shuffle(x, IntLanes{4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}));
  x = larger(x, __builtin_shuffle(x, IntLanes{2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}));
  return x[0] > x[1] ? x[0] : x[1];
}

// e^x for x up to 87, below 1 ulp: 0 below -87.33, NaN stays NaN. The polynomial of exp_ (math.inl).
[[gnu::always_inline]] static inline Lanes exp_weight(const Lanes& x) {
  const Lanes least = all_lanes(-87.33f), c = x < least ? least : x;
  const Lanes t = c * kLog2e + kRound, n = t - kRound;
  const Lanes r = n * -kLn2Low + (n * -kLn2High + c);
  Lanes q = r * 0.000199209564f + 0.00139483856f;
  q = q * r + 0.00833326019f;
  q = q * r + 0.0416662358f;
  q = q * r + 0.166666672f;
  q = q * r + 0.5f;
  const auto power = std::bit_cast<Lanes>((std::bit_cast<WordLanes>(t) - std::bit_cast<uint32_t>(kRound) + 127u) << 23);
  const Lanes y = (q * (r * r) + r + 1.0f) * power;
  return x < least ? Lanes{} : y;
}

}  // namespace merak::MERAK_ISA
