// Loops of the int8 kernels.
#include "ops/cpu/isa/quantised.h"

#if defined(__SSE2__)
#include <immintrin.h>  // products of pairs
#endif

#include <bit>  // bit_cast

#include "ops/cpu/isa/gelu.inl"  // gelu_tanh_at, gelu_erf_at

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

constexpr float kLimit = 127.0f;

// Ties to even: the sum with kRound has the integer in its low bits.
[[gnu::always_inline]] inline int8_t rounded_to_int8(float x) {
  float t = x == x ? x : 0.0f;
  t = t > kLimit ? kLimit : t;
  t = t < -kLimit ? -kLimit : t;
  return static_cast<int8_t>(difference_(bits_(t + kRound), bits_(kRound)));
}

template <class Activate>
[[gnu::always_inline]] inline void epilogue(const int32_t* restrict sums, const float* restrict scales, const float* restrict bias,
                                            float* restrict y, size_t n, Activate activate) {
  if (bias) {
    for (size_t i = 0; i < n; i++) y[i] = activate(fma_(static_cast<float>(sums[i]), scales[i], bias[i]));
  } else {
    for (size_t i = 0; i < n; i++) y[i] = activate(static_cast<float>(sums[i]) * scales[i]);
  }
}

template <class Activate>
[[gnu::always_inline]] inline void narrow(const int32_t* restrict sums, const float* restrict scales, const float* restrict bias,
                                          float inverse, int8_t* restrict y, size_t n, Activate activate) {
  if (bias) {
    for (size_t i = 0; i < n; i++)
      y[i] = rounded_to_int8(activate(fma_(static_cast<float>(sums[i]), scales[i], bias[i])) * inverse);
  } else {
    for (size_t i = 0; i < n; i++) y[i] = rounded_to_int8(activate(static_cast<float>(sums[i]) * scales[i]) * inverse);
  }
}

// Calls body with the activation as a function of one number.
template <class Body>
[[gnu::always_inline]] inline void with_activation(Int8Activation activation, Body body) {
  switch (activation) {
    case Int8Activation::linear: return body([](float x) __attribute__((always_inline)) { return x; });
    case Int8Activation::relu: return body([](float x) __attribute__((always_inline)) { return x > 0.0f ? x : 0.0f; });
    case Int8Activation::gelu_tanh: return body([](float x) __attribute__((always_inline)) { return gelu_tanh_at(x); });
    case Int8Activation::gelu_erf: return body([](float x) __attribute__((always_inline)) { return gelu_erf_at(x); });
  }
}

// Products of 16-bit numbers, neighbours added: one instruction, exact in 32 bits (x86; plain loops elsewhere).
#if defined(__AVX512BW__)
constexpr size_t kSums = 16;
#elif defined(__AVX2__)
constexpr size_t kSums = 8;
#else
constexpr size_t kSums = 4;
#endif
typedef int32_t Sums __attribute__((vector_size(kSums * 4)));
typedef int16_t Factors __attribute__((vector_size(kSums * 4)));

[[gnu::always_inline]] inline Sums multiply_add(const Factors& x, const Factors& y) {
#if defined(__AVX512BW__)
  return std::bit_cast<Sums>(_mm512_madd_epi16(std::bit_cast<__m512i>(x), std::bit_cast<__m512i>(y)));
#elif defined(__AVX2__)
  return std::bit_cast<Sums>(_mm256_madd_epi16(std::bit_cast<__m256i>(x), std::bit_cast<__m256i>(y)));
#elif defined(__SSE2__)
  return std::bit_cast<Sums>(_mm_madd_epi16(std::bit_cast<__m128i>(x), std::bit_cast<__m128i>(y)));
#else
  Sums sums;
  for (size_t i = 0; i < kSums; i++) sums[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
  return sums;
#endif
}

constexpr size_t kPanel = 2 * kSums;
constexpr size_t kTileRows = 6;
inline size_t pairs_of(size_t inner) { return (inner + 1) / 2; }
inline size_t panels_of(size_t columns) { return (columns + kPanel - 1) / kPanel; }

// Rows x kPanel sums in registers over all of the inner dim; `width` of the columns are kept. Nothing but constants indexes `sums`,
// nor is its address taken: otherwise the compiler keeps the sums in memory.
template <size_t Rows>
inline void int8_tile(const int16_t* a, const int16_t* panel, size_t pairs, int32_t* c, size_t columns, size_t width) {
  Sums sums[Rows][2];
#pragma GCC unroll 8
  for (size_t r = 0; r < Rows; r++) sums[r][0] = sums[r][1] = Sums{};
  for (size_t p = 0; p < pairs; p++, panel += 2 * kPanel) {
    Factors left, right;
    __builtin_memcpy(&left, panel, sizeof left);
    __builtin_memcpy(&right, panel + kPanel, sizeof right);
#pragma GCC unroll 8
    for (size_t r = 0; r < Rows; r++) {
      int32_t pair;
      __builtin_memcpy(&pair, a + 2 * (r * pairs + p), sizeof pair);
      const auto x = std::bit_cast<Factors>(Sums{} + pair);
      sums[r][0] += multiply_add(x, left);
      sums[r][1] += multiply_add(x, right);
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < Rows; r++, c += columns) {
    // A copy whose size is no constant is a call: beside an inner dim of 256, a tenth of the time.
    int32_t row[kPanel];
    int32_t* to = width == kPanel ? c : row;
    __builtin_memcpy(to, &sums[r][0], sizeof sums[r][0]);
    __builtin_memcpy(to + kSums, &sums[r][1], sizeof sums[r][1]);
    if (width < kPanel) __builtin_memcpy(c, row, width * sizeof *c);
  }
}

}  // namespace

void to_int8(const float* restrict x, float inverse, int8_t* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = rounded_to_int8(x[i] * inverse);
}

size_t int8_packed_bytes(size_t inner, size_t columns) { return panels_of(columns) * pairs_of(inner) * 2 * kPanel * sizeof(int16_t); }

void int8_pack(const int8_t* restrict b, size_t inner, size_t columns, int16_t* restrict packed) {
  for (size_t first = 0; first < columns; first += kPanel)
    for (size_t k = 0; k < inner; k += 2)
      for (size_t j = first; j < first + kPanel; j++, packed += 2) {
        packed[0] = j < columns ? b[k * columns + j] : 0;
        packed[1] = j < columns && k + 1 < inner ? b[(k + 1) * columns + j] : 0;
      }
}

void int8_widen(const int8_t* restrict a, size_t rows, size_t inner, int16_t* restrict wide) {
  if (inner % 2 == 0) {
    for (size_t i = 0; i < rows * inner; i++) wide[i] = a[i];
    return;
  }
  for (size_t r = 0; r < rows; r++, a += inner) {
    for (size_t k = 0; k < inner; k++) *wide++ = a[k];
    *wide++ = 0;
  }
}

void int8_product(const int16_t* restrict a, const int16_t* restrict packed, int32_t* restrict c, size_t rows, size_t inner, size_t columns) {
  const size_t pairs = pairs_of(inner);
  for (size_t j = 0; j < columns; j += kPanel, packed += pairs * 2 * kPanel) {
    const size_t width = columns - j < kPanel ? columns - j : kPanel;
    size_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) int8_tile<kTileRows>(a + r * 2 * pairs, packed, pairs, c + r * columns + j, columns, width);
    for (; r < rows; r++) int8_tile<1>(a + r * 2 * pairs, packed, pairs, c + r * columns + j, columns, width);
  }
}

void int8_epilogue(const int32_t* sums, const float* scales, const float* bias, Int8Activation activation, float* y, size_t n) {
  with_activation(activation, [&](auto activate) __attribute__((always_inline)) { epilogue(sums, scales, bias, y, n, activate); });
}

void int8_epilogue_to_int8(const int32_t* sums, const float* scales, const float* bias, Int8Activation activation, float inverse,
                           int8_t* y, size_t n) {
  with_activation(activation,
                  [&](auto activate) __attribute__((always_inline)) { narrow(sums, scales, bias, inverse, y, n, activate); });
}

}  // namespace merak::MERAK_ISA
