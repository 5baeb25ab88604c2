// Transposing sixteen vectors of sixteen words. Included by ops/cpu/isa/*.cpp only.
#pragma once
#if defined(__AVX2__) && !defined(__AVX512F__)
#include <immintrin.h>  // blocks of eight
#endif

#include <cstdint>  // uint32_t

namespace merak::MERAK_ISA {

typedef uint32_t Words __attribute__((vector_size(64)));

#if defined(__AVX2__) && !defined(__AVX512F__)

// Eight by eight, from rows a vector of sixteen apart to such rows: pairs, then fours, then halves change places.
[[gnu::always_inline]] static inline void transpose8(const float* from, float* to) {
  __m256 x[8], y[8];
  for (int i = 0; i < 8; i++) x[i] = _mm256_loadu_ps(from + 16 * i);
  for (int i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      x[i + 2 * j] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0x44);
      x[i + 2 * j + 1] = _mm256_shuffle_ps(y[i + j], y[i + j + 2], 0xee);
    }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to + 16 * i, _mm256_permute2f128_ps(x[i], x[i + 4], 0x20));
    _mm256_storeu_ps(to + 16 * (i + 4), _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
  }
}

// In place: element j of vector i changes places with element i of vector j.
[[gnu::always_inline]] static inline void transpose16(Words* v) {
  float from[256];
  __builtin_memcpy(from, v, sizeof from);
  auto* to = reinterpret_cast<float*>(v);
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 16; j += 8) transpose8(from + 16 * i + j, to + 16 * j + i);
}

#else

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

#endif

}  // namespace merak::MERAK_ISA
