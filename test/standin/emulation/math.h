// Device functions of CUDA that C++ lacks, and its atomics: threads of a launch never run at the same moment here.
#pragma once
#include <math.h>   // functions of every float type in the global namespace

#include <cmath>    // the rest
#include <cstdint>  // products of words
#include <cstring>  // memcpy

using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

template <class To, class From>
inline To merak_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &value, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return merak_bits<unsigned>(x); }
inline int __float_as_int(float x) { return merak_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return merak_bits<float>(x); }
inline float __int_as_float(int x) { return merak_bits<float>(x); }
inline long long __double_as_longlong(double x) { return merak_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return merak_bits<double>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
template <class T>
inline T __ldg(const T* address) { return *address; }

template <class T>
inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
inline T max(T a, T b) { return a < b ? b : a; }

template <class T>
inline T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
inline T atomicMax(T* address, T value) {
  const T old = *address;
  *address = old < value ? value : old;
  return old;
}
template <class T>
inline T atomicMin(T* address, T value) {
  const T old = *address;
  *address = value < old ? value : old;
  return old;
}
template <class T>
inline T atomicOr(T* address, T value) {
  const T old = *address;
  *address = old | value;
  return old;
}
template <class T>
inline T atomicExch(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
inline T atomicCAS(T* address, T compare, T value) {
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}
