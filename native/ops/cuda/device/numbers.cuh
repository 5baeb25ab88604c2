// Number types of the kernels. Sources include no CUDA header: NVRTC may have none at run time.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i8 = signed char;
using i32 = int;
using i64 = long long;

struct bf16 {
  u16 bits;
};
struct f16 {
  u16 bits;
};

#define MERAK_INFINITY __uint_as_float(0x7f800000u)
#define MERAK_NAN __uint_as_float(0x7fffffffu)

// Two numbers to one register, the first in its lower half, rounded to nearest even.
__device__ inline u32 pack_bf16(float low, float high) {
#ifdef MERAK_EMULATION
  return merak_emulation::to_bf16_bits(low) | merak_emulation::to_bf16_bits(high) << 16;
#else
  u32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}
__device__ inline u32 pack_f16(float low, float high) {
#ifdef MERAK_EMULATION
  return merak_emulation::to_f16_bits(low) | merak_emulation::to_f16_bits(high) << 16;
#else
  u32 packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ inline float to_float(f16 x) {
#ifdef MERAK_EMULATION
  return merak_emulation::from_f16_bits(x.bits);
#else
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#endif
}

template <class T>
struct Number;
template <>
struct Number<float> {
  __device__ static float from(float x) { return x; }
};
template <>
struct Number<bf16> {
  __device__ static bf16 from(float x) { return {(u16)pack_bf16(x, 0.0f)}; }
  __device__ static u32 pack(float low, float high) { return pack_bf16(low, high); }
  __device__ static float low(u32 pair) { return __uint_as_float(pair << 16); }
  __device__ static float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
};
template <>
struct Number<f16> {
  __device__ static f16 from(float x) { return {(u16)pack_f16(x, 0.0f)}; }
  __device__ static u32 pack(float low, float high) { return pack_f16(low, high); }
  __device__ static float low(u32 pair) { return to_float(f16{(u16)pair}); }
  __device__ static float high(u32 pair) { return to_float(f16{(u16)(pair >> 16)}); }
};

// Four neighbours as one access of 16 or 8 bytes; the address must be so aligned.
__device__ inline float4 load4(const float* from) { return *(const float4*)from; }
__device__ inline void store4(float* to, float4 x) { *(float4*)to = x; }
template <class T>
__device__ inline float4 load4(const T* from) {
  const uint2 packed = *(const uint2*)from;
  return make_float4(Number<T>::low(packed.x), Number<T>::high(packed.x), Number<T>::low(packed.y), Number<T>::high(packed.y));
}
template <class T>
__device__ inline void store4(T* to, float4 x) {
  *(uint2*)to = make_uint2(Number<T>::pack(x.x, x.y), Number<T>::pack(x.z, x.w));
}
