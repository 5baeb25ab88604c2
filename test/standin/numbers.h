// The 16-bit floats and tf32 as the stand-in libraries compute them.
#pragma once
#include <cmath>    // ldexp
#include <cstdint>  // fixed-width integers
#include <cstring>  // memcpy

namespace merak_standin {

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float from_f16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
  if (exponent) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = std::ldexp(static_cast<float>(mantissa), -24);
  return sign ? -small : small;
}
// To nearest, ties to even.
inline uint16_t to_f16(float x) {
  const uint32_t bits = bits_of(x);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const float a = std::fabs(x);
  if (a != a) return 0x7fff;
  if (a >= 65520.0f) return sign | 0x7c00;
  if (a < 6.103515625e-05f) return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(a, 24)));
  const uint32_t rounded = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded >> 13) - (112 << 10));
}

inline float from_bf16(uint16_t half) { return float_of(static_cast<uint32_t>(half) << 16); }
inline uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  return static_cast<uint16_t>(x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// As the tensor cores take float32 operands in tf32: 10 bits of fraction.
inline float to_tf32(float x) { return x - x == 0 ? float_of((bits_of(x) + 0xfff + (bits_of(x) >> 13 & 1)) & 0xffffe000u) : x; }

}  // namespace merak_standin
