// What the host sides of the CUDA kernels share.
#pragma once
#include <string>  // macros

#include "cuda/device.h"          // Device, Dim3
#include "engine/kernel.h"        // RunContext, DType
#include "ops/cpu/make_kernel.h"  // make_kernel, require
#include "ops/cuda/register.h"    // register_cuda_kernel

namespace merak::cuda {

inline CUstream stream_of(const RunContext& context) { return static_cast<CUstream>(context.stream); }

// Blocks of which each takes `per_block`.
inline unsigned blocks_for(int64_t n, int64_t per_block) { return static_cast<unsigned>((n + per_block - 1) / per_block); }

// The number type in CUDA sources (device/numbers.cuh).
inline const char* type_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float";
    case DType::i32: return "i32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i8: return "i8";
    default: return "u8";
  }
}
inline std::string define(const char* name, const std::string& value) { return std::string(name) + "=" + value; }
inline std::string define(const char* name, int64_t value) { return define(name, std::to_string(value)); }
inline std::string define(const char* name, DType dtype) { return define(name, std::string(type_name(dtype))); }

// How many neighbours rows of `width` elements let a thread take at once.
inline int64_t vector_of(int64_t width) { return width % 4 == 0 ? 4 : 1; }

inline size_t rounded_up(size_t bytes) { return (bytes + 255) / 256 * 256; }
inline std::byte* at(void* scratch, size_t offset) { return static_cast<std::byte*>(scratch) + offset; }

inline bool is_float(DType dtype) { return dtype == DType::f32 || is_half(dtype); }

inline CUdeviceptr address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }
void set_zero(void* to, size_t bytes, CUstream stream);
void copy_bytes(const void* from, void* to, size_t bytes, CUstream stream);

}  // namespace merak::cuda
