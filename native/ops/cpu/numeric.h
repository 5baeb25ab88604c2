// Elements as doubles and back, converting as JavaScript's typed arrays do: the exact, slow path of element-wise kernels.
#pragma once
#include <cmath>    // std::isfinite, std::fmod
#include <cstdint>  // int32_t

#include "engine/kernel.h"  // DType

namespace merak {

// ECMAScript ToInt32: truncation modulo 2^32; NaN and infinities give 0.
inline int32_t to_int32(double x) {
  if (x > -9.2e18 && x < 9.2e18) return static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(x)));
  if (!std::isfinite(x)) return 0;
  return static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(std::fmod(x, 4294967296.0))));
}

inline double load_number(DType dtype, const void* data, int64_t i) {
  switch (dtype) {
    case DType::f32: return static_cast<const float*>(data)[i];
    case DType::i32: return static_cast<const int32_t*>(data)[i];
    default: return static_cast<const uint8_t*>(data)[i];
  }
}

inline void store_number(DType dtype, void* data, int64_t i, double x) {
  switch (dtype) {
    case DType::f32: static_cast<float*>(data)[i] = static_cast<float>(x); break;
    case DType::i32: static_cast<int32_t*>(data)[i] = to_int32(x); break;
    default: static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(to_int32(x)); break;
  }
}

inline const uint8_t* bytes_at(const void* data, int64_t offset) { return static_cast<const uint8_t*>(data) + offset; }
inline uint8_t* bytes_at(void* data, int64_t offset) { return static_cast<uint8_t*>(data) + offset; }

}  // namespace merak
