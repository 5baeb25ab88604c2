// NVRTC, which compiles CUDA C++ at run time. Names and numbers are those of NVIDIA's nvrtc.h.
#pragma once
#include <cstddef>  // size_t

#include "cuda/table.h"  // MERAK_MEMBER

namespace merak::cuda {

using nvrtcProgram = struct _nvrtcProgram*;
enum nvrtcResult : int { NVRTC_SUCCESS = 0, NVRTC_ERROR_OUT_OF_MEMORY = 1, NVRTC_ERROR_INVALID_OPTION = 5, NVRTC_ERROR_COMPILATION = 6 };

#define MERAK_NVRTC_FUNCTIONS(F)                                                                                                          \
  F(nvrtcResult, nvrtcVersion, "nvrtcVersion", int* major, int* minor)                                                                    \
  F(const char*, nvrtcGetErrorString, "nvrtcGetErrorString", nvrtcResult result)                                                          \
  F(nvrtcResult, nvrtcCreateProgram, "nvrtcCreateProgram", nvrtcProgram* program, const char* source, const char* name, int num_headers,  \
    const char* const* headers, const char* const* include_names)                                                                        \
  F(nvrtcResult, nvrtcDestroyProgram, "nvrtcDestroyProgram", nvrtcProgram* program)                                                       \
  F(nvrtcResult, nvrtcCompileProgram, "nvrtcCompileProgram", nvrtcProgram program, int num_options, const char* const* options)           \
  F(nvrtcResult, nvrtcGetCUBINSize, "nvrtcGetCUBINSize", nvrtcProgram program, size_t* bytes)                                             \
  F(nvrtcResult, nvrtcGetCUBIN, "nvrtcGetCUBIN", nvrtcProgram program, char* cubin)                                                       \
  F(nvrtcResult, nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize", nvrtcProgram program, size_t* bytes)                                   \
  F(nvrtcResult, nvrtcGetProgramLog, "nvrtcGetProgramLog", nvrtcProgram program, char* log)

struct Nvrtc {
  int version = 0;  // 13000 for 13.0
  Library library;
  MERAK_NVRTC_FUNCTIONS(MERAK_MEMBER)
};

// A library of a newer major version than the driver's makes machine code which that driver may refuse: passed over.
const Nvrtc& find_nvrtc();
// Throws EngineError('engine/unsupported') saying where was looked.
const Nvrtc& nvrtc();
// Throws EngineError('engine/cuda').
void check(nvrtcResult result, const char* call);

}  // namespace merak::cuda
