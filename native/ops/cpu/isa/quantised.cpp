// Loops of the int8 kernels.
#include "ops/cpu/isa/quantised.h"

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

}  // namespace

void to_int8(const float* restrict x, float inverse, int8_t* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = rounded_to_int8(x[i] * inverse);
}

// Two products of numbers within [-127,127] fit 16 bits together.
void int8_product(const int8_t* restrict a, const int8_t* restrict b, int32_t* restrict c, size_t rows, size_t inner, size_t columns) {
  for (size_t r = 0; r < rows; r++, a += inner, c += columns) {
    for (size_t j = 0; j < columns; j++) c[j] = 0;
    size_t k = 0;
    for (; k + 1 < inner; k += 2) {
      const int16_t first = a[k], second = a[k + 1];
      const int8_t *restrict x = b + k * columns, *restrict y = x + columns;
      for (size_t j = 0; j < columns; j++) c[j] += static_cast<int16_t>(first * x[j] + second * y[j]);
    }
    if (k < inner) {
      const int16_t last = a[k];
      const int8_t* restrict x = b + k * columns;
      for (size_t j = 0; j < columns; j++) c[j] += static_cast<int16_t>(last * x[j]);
    }
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
