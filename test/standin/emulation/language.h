// CUDA's keywords and built-in types for g++.
#pragma once
#include <cstddef>  // size_t

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __constant__ static
#define __grid_constant__
// One object for the block; blocks run one after another. A section of their own, so that they can be poisoned.
#define __shared__ static __attribute__((section("merak_shared")))

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
#define MERAK_VECTOR(type, name)                                                        \
  struct alignas(2 * sizeof(type)) name##2 { type x, y; };                              \
  struct alignas(4 * sizeof(type)) name##4 { type x, y, z, w; };                        \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                      \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
MERAK_VECTOR(float, float)
MERAK_VECTOR(int, int)
MERAK_VECTOR(unsigned, uint)
#undef MERAK_VECTOR
