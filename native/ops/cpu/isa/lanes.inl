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

// Sixteen lanes in parts as wide as the processor's registers: of a vector type wider than those, compilers take comparisons and
// shuffles apart lane by lane (GCC 12; it cost an attention's softmax more than half of its time).
constexpr int kLanes = 16;
#if defined(__AVX512F__)
constexpr int kPart = 16;
#elif defined(__AVX__)
constexpr int kPart = 8;
#else
constexpr int kPart = 4;
#endif
constexpr int kParts = kLanes / kPart;
typedef float Part __attribute__((vector_size(kPart * 4)));
typedef uint32_t WordPart __attribute__((vector_size(kPart * 4)));
typedef uint16_t HalfPart __attribute__((vector_size(kPart * 2)));

struct Lanes {
  Part part[kParts];
};

// Lanes whose parts are `of` the parts of others.
template <class Of, class... More>
[[gnu::always_inline]] static inline Lanes by_part(Of of, const More&... lanes) {
  Lanes result;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; i++) result.part[i] = of(lanes.part[i]...);
  return result;
}

#define MERAK_LAMBDA(...) [=](__VA_ARGS__) __attribute__((always_inline))

[[gnu::always_inline]] static inline Lanes all_lanes(float x) {
  return by_part(MERAK_LAMBDA() { return Part{} + x; });
}
[[gnu::always_inline]] static inline Lanes operator+(const Lanes& x, const Lanes& y) {
  return by_part(MERAK_LAMBDA(const Part& a, const Part& b) { return a + b; }, x, y);
}
[[gnu::always_inline]] static inline Lanes operator*(const Lanes& x, const Lanes& y) {
  return by_part(MERAK_LAMBDA(const Part& a, const Part& b) { return a * b; }, x, y);
}
[[gnu::always_inline]] static inline Lanes operator-(const Lanes& x, float y) {
  return by_part(MERAK_LAMBDA(const Part& a) { return a - y; }, x);
}
[[gnu::always_inline]] static inline Lanes operator*(const Lanes& x, float y) {
  return by_part(MERAK_LAMBDA(const Part& a) { return a * y; }, x);
}
[[gnu::always_inline]] static inline Lanes& operator+=(Lanes& x, const Lanes& y) { return x = x + y; }

[[gnu::always_inline]] static inline Lanes load_lanes(const float* x) {
  Lanes lanes;
  __builtin_memcpy(&lanes, x, sizeof lanes);
  return lanes;
}
[[gnu::always_inline]] static inline Lanes load_lanes(const uint16_t* x) {
  Lanes lanes;
#pragma GCC unroll 4
  for (int i = 0; i < kParts; i++) {
    HalfPart halves;
    __builtin_memcpy(&halves, x + i * kPart, sizeof halves);
    lanes.part[i] = std::bit_cast<Part>(__builtin_convertvector(halves, WordPart) << 16);
  }
  return lanes;
}
[[gnu::always_inline]] static inline void store_lanes(const Lanes& lanes, float* y) { __builtin_memcpy(y, &lanes, sizeof lanes); }
// Rounded to nearest, ties to even; NaN stays NaN. (Numbers below 2^-126 become 0 where the processor rounds.)
[[gnu::always_inline]] static inline void store_lanes(const Lanes& lanes, uint16_t* y) {
#pragma GCC unroll 4
  for (int i = 0; i < kParts; i++) {
    const Part x = lanes.part[i];
#if defined(__AVX512BF16__)
    const auto halves = _mm512_cvtneps_pbh(std::bit_cast<__m512>(x));
#else
    const auto bits = std::bit_cast<WordPart>(x);
    const WordPart nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
    const HalfPart halves = __builtin_convertvector((x == x ? nearest : bits | 0x400000u) >> 16, HalfPart);
#endif
    __builtin_memcpy(y + i * kPart, &halves, sizeof halves);
  }
}

[[gnu::always_inline]] static inline Lanes larger(const Lanes& x, const Lanes& y) {
  return by_part(MERAK_LAMBDA(const Part& a, const Part& b) { return a > b ? a : b; }, x, y);
}
// x in the first `count` lanes, `rest` in the others.
[[gnu::always_inline]] static inline Lanes first_lanes(int count, const Lanes& x, float rest) {
  static constexpr float kPlaces[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto limit = static_cast<float>(count);
  return by_part(MERAK_LAMBDA(const Part& place, const Part& a) { return place < limit ? a : Part{} + rest; }, load_lanes(kPlaces), x);
}

// Sixteen to one, as a tree: lane l with lane l + 8, and so on.
template <class Join>
[[gnu::always_inline]] static inline float fold(const Lanes& x, Join join) {
  typedef float Four __attribute__((vector_size(16)));
  typedef int32_t Places __attribute__((vector_size(16)));
  Four four[4];
  __builtin_memcpy(four, &x, sizeof four);
  Four one = join(join(four[0], four[2]), join(four[1], four[3]));
  one = join(one, __builtin_shuffle(one, Places{2, 3, 0, 1}));
  return join(one, __builtin_shuffle(one, Places{1, 0, 3, 2}))[0];
}
[[gnu::always_inline]] static inline float sum_of(const Lanes& x) {
  return fold(x, MERAK_LAMBDA(const auto& a, const auto& b) { return a + b; });
}
[[gnu::always_inline]] static inline float max_of(const Lanes& x) {
  return fold(x, MERAK_LAMBDA(const auto& a, const auto& b) { return a > b ? a : b; });
}

// e^x for x up to 87, below 1 ulp: 0 below -87.33, NaN stays NaN. The polynomial of exp_ (math.inl).
[[gnu::always_inline]] static inline Lanes exp_weight(const Lanes& lanes) {
  return by_part(MERAK_LAMBDA(const Part& x) {
    const Part least = Part{} - 87.33f, c = x < least ? least : x;
    const Part t = c * kLog2e + kRound, n = t - kRound;
    const Part r = n * -kLn2Low + (n * -kLn2High + c);
    Part q = r * 0.000199209564f + 0.00139483856f;
    q = q * r + 0.00833326019f;
    q = q * r + 0.0416662358f;
    q = q * r + 0.166666672f;
    q = q * r + 0.5f;
    const auto power = std::bit_cast<Part>((std::bit_cast<WordPart>(t) - std::bit_cast<uint32_t>(kRound) + 127u) << 23);
    const Part y = (q * (r * r) + r + 1.0f) * power;
    return x < least ? Part{} : y;
  }, lanes);
}
#undef MERAK_LAMBDA

}  // namespace merak::MERAK_ISA
