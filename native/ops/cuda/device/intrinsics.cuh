// Warp-wide instructions for the tensor cores and asynchronous copies (sm_80 and later). Each has an emulated twin for tests.
#pragma once
#include "numbers.cuh"

// d += a b: a 16 x 16, b 16 x 8, 16-bit operands two to a register, float32 sums.
template <class T>
__device__ inline void mma_16816(float (&d)[4], const u32 (&a)[4], const u32* b);

#ifdef MERAK_EMULATION

template <>
inline void mma_16816<bf16>(float (&d)[4], const u32 (&a)[4], const u32* b) {
  merak_emulation::mma_16816(d, a, b, merak_emulation::from_bf16_bits);
}
template <>
inline void mma_16816<f16>(float (&d)[4], const u32 (&a)[4], const u32* b) {
  merak_emulation::mma_16816(d, a, b, merak_emulation::from_f16_bits);
}
__device__ inline void ldmatrix_x4(u32* r, const void* row) { merak_emulation::ldmatrix_x4(r, row, false); }
__device__ inline void ldmatrix_x4_transposed(u32* r, const void* row) { merak_emulation::ldmatrix_x4(r, row, true); }
__device__ inline void copy_async_16(void* to, const void* from, int bytes) { merak_emulation::start_copy(to, from, bytes); }
__device__ inline void commit_copies() { merak_emulation::commit_copies(); }
template <int kPending>
__device__ inline void await_copies() {
  merak_emulation::await_copies(kPending);
}

#else

template <>
__device__ inline void mma_16816<bf16>(float (&d)[4], const u32 (&a)[4], const u32* b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ inline void mma_16816<f16>(float (&d)[4], const u32 (&a)[4], const u32* b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// Four 8 x 8 matrices of 16-bit elements: lane 8 m + r names row r of matrix m in shared memory.
__device__ inline void ldmatrix_x4(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void ldmatrix_x4_transposed(u32* r, const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// 16 bytes to shared memory past the registers: the first `bytes` from global memory (0 or 16), zeros after them.
__device__ inline void copy_async_16(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kPending groups are under way.
template <int kPending>
__device__ inline void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

// A block's dynamic shared memory, aligned to 128 bytes.
__device__ inline unsigned char* dynamic_shared() {
#ifdef MERAK_EMULATION
  return merak_emulation::dynamic_shared;
#else
  extern __shared__ __align__(128) unsigned char merak_dynamic_shared[];
  return merak_dynamic_shared;
#endif
}
