// The CUDA driver API (libcuda.so.1), as much of it as Merak calls. Names and numbers are those of NVIDIA's cuda.h; a name with a
// version behind it (cuMemAlloc_v2) is the symbol that cuda.h's macro of the plain name stands for.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // fixed-width integers

#include "cuda/table.h"  // MERAK_MEMBER

namespace merak::cuda {

using CUdeviceptr = unsigned long long;
using CUdevice = int;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUhostFn = void (*)(void* data);

enum CUresult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
};

enum CUdevice_attribute : int {
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
  CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10,
  CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_INTEGRATED = 18,
  CU_DEVICE_ATTRIBUTE_COMPUTE_MODE = 20,
  CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36,
  CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37,
  CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
  CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR = 82,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum CUfunction_attribute : int {
  CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9,
};

enum CUjit_option : int { CU_JIT_ERROR_LOG_BUFFER = 5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6 };
enum CUstreamCaptureMode : int { CU_STREAM_CAPTURE_MODE_GLOBAL = 0, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1, CU_STREAM_CAPTURE_MODE_RELAXED = 2 };
enum CUstreamCaptureStatus : int { CU_STREAM_CAPTURE_STATUS_NONE = 0, CU_STREAM_CAPTURE_STATUS_ACTIVE = 1, CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2 };

constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
constexpr unsigned CU_EVENT_DEFAULT = 0;
constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;
constexpr unsigned CU_MEMHOSTALLOC_PORTABLE = 1;
constexpr unsigned CU_MEMHOSTREGISTER_PORTABLE = 1;

enum CUmemorytype : int { CU_MEMORYTYPE_HOST = 1, CU_MEMORYTYPE_DEVICE = 2 };

struct CUDA_MEMCPY2D {
  size_t srcXInBytes = 0, srcY = 0;
  CUmemorytype srcMemoryType = CU_MEMORYTYPE_DEVICE;
  const void* srcHost = nullptr;
  CUdeviceptr srcDevice = 0;
  void* srcArray = nullptr;
  size_t srcPitch = 0;
  size_t dstXInBytes = 0, dstY = 0;
  CUmemorytype dstMemoryType = CU_MEMORYTYPE_DEVICE;
  void* dstHost = nullptr;
  CUdeviceptr dstDevice = 0;
  void* dstArray = nullptr;
  size_t dstPitch = 0;
  size_t WidthInBytes = 0, Height = 0;
};

#define MERAK_DRIVER_FUNCTIONS(F)                                                                                                         \
  F(CUresult, cuInit, "cuInit", unsigned flags)                                                                                           \
  F(CUresult, cuDriverGetVersion, "cuDriverGetVersion", int* version)                                                                     \
  F(CUresult, cuGetErrorName, "cuGetErrorName", CUresult error, const char** name)                                                        \
  F(CUresult, cuGetErrorString, "cuGetErrorString", CUresult error, const char** text)                                                    \
  F(CUresult, cuDeviceGetCount, "cuDeviceGetCount", int* count)                                                                           \
  F(CUresult, cuDeviceGet, "cuDeviceGet", CUdevice* device, int ordinal)                                                                  \
  F(CUresult, cuDeviceGetName, "cuDeviceGetName", char* name, int length, CUdevice device)                                                \
  F(CUresult, cuDeviceGetAttribute, "cuDeviceGetAttribute", int* value, CUdevice_attribute attribute, CUdevice device)                    \
  F(CUresult, cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId", char* id, int length, CUdevice device)                                          \
  F(CUresult, cuDeviceTotalMem, "cuDeviceTotalMem_v2", size_t* bytes, CUdevice device)                                                    \
  F(CUresult, cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", CUcontext* context, CUdevice device)                                  \
  F(CUresult, cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", CUdevice device)                                                 \
  F(CUresult, cuCtxSetCurrent, "cuCtxSetCurrent", CUcontext context)                                                                      \
  F(CUresult, cuCtxGetCurrent, "cuCtxGetCurrent", CUcontext* context)                                                                     \
  F(CUresult, cuCtxSynchronize, "cuCtxSynchronize", void)                                                                                 \
  F(CUresult, cuMemGetInfo, "cuMemGetInfo_v2", size_t* free, size_t* total)                                                               \
  F(CUresult, cuMemAlloc, "cuMemAlloc_v2", CUdeviceptr* address, size_t bytes)                                                            \
  F(CUresult, cuMemFree, "cuMemFree_v2", CUdeviceptr address)                                                                             \
  F(CUresult, cuMemHostAlloc, "cuMemHostAlloc", void** address, size_t bytes, unsigned flags)                                             \
  F(CUresult, cuMemFreeHost, "cuMemFreeHost", void* address)                                                                              \
  F(CUresult, cuMemHostRegister, "cuMemHostRegister_v2", void* address, size_t bytes, unsigned flags)                                     \
  F(CUresult, cuMemHostUnregister, "cuMemHostUnregister", void* address)                                                                  \
  F(CUresult, cuMemcpyHtoD, "cuMemcpyHtoD_v2", CUdeviceptr to, const void* from, size_t bytes)                                            \
  F(CUresult, cuMemcpyDtoH, "cuMemcpyDtoH_v2", void* to, CUdeviceptr from, size_t bytes)                                                  \
  F(CUresult, cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", CUdeviceptr to, const void* from, size_t bytes, CUstream stream)                 \
  F(CUresult, cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", void* to, CUdeviceptr from, size_t bytes, CUstream stream)                       \
  F(CUresult, cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)                 \
  F(CUresult, cuMemcpy2DAsync, "cuMemcpy2DAsync_v2", const CUDA_MEMCPY2D* copy, CUstream stream)                                          \
  F(CUresult, cuMemsetD8Async, "cuMemsetD8Async", CUdeviceptr to, unsigned char value, size_t count, CUstream stream)                     \
  F(CUresult, cuMemsetD32Async, "cuMemsetD32Async", CUdeviceptr to, unsigned value, size_t count, CUstream stream)                        \
  F(CUresult, cuStreamCreate, "cuStreamCreate", CUstream* stream, unsigned flags)                                                         \
  F(CUresult, cuStreamCreateWithPriority, "cuStreamCreateWithPriority", CUstream* stream, unsigned flags, int priority)                   \
  F(CUresult, cuStreamDestroy, "cuStreamDestroy_v2", CUstream stream)                                                                     \
  F(CUresult, cuStreamSynchronize, "cuStreamSynchronize", CUstream stream)                                                                \
  F(CUresult, cuStreamQuery, "cuStreamQuery", CUstream stream)                                                                            \
  F(CUresult, cuStreamWaitEvent, "cuStreamWaitEvent", CUstream stream, CUevent event, unsigned flags)                                     \
  F(CUresult, cuStreamBeginCapture, "cuStreamBeginCapture_v2", CUstream stream, CUstreamCaptureMode mode)                                 \
  F(CUresult, cuStreamEndCapture, "cuStreamEndCapture", CUstream stream, CUgraph* graph)                                                  \
  F(CUresult, cuStreamIsCapturing, "cuStreamIsCapturing", CUstream stream, CUstreamCaptureStatus* status)                                 \
  F(CUresult, cuEventCreate, "cuEventCreate", CUevent* event, unsigned flags)                                                             \
  F(CUresult, cuEventDestroy, "cuEventDestroy_v2", CUevent event)                                                                         \
  F(CUresult, cuEventRecord, "cuEventRecord", CUevent event, CUstream stream)                                                             \
  F(CUresult, cuEventQuery, "cuEventQuery", CUevent event)                                                                                \
  F(CUresult, cuEventSynchronize, "cuEventSynchronize", CUevent event)                                                                    \
  F(CUresult, cuEventElapsedTime, "cuEventElapsedTime", float* milliseconds, CUevent begin, CUevent end)                                  \
  F(CUresult, cuModuleLoadData, "cuModuleLoadData", CUmodule* module, const void* image)                                                  \
  F(CUresult, cuModuleLoadDataEx, "cuModuleLoadDataEx", CUmodule* module, const void* image, unsigned count, CUjit_option* options, void** values) \
  F(CUresult, cuModuleUnload, "cuModuleUnload", CUmodule module)                                                                          \
  F(CUresult, cuModuleGetFunction, "cuModuleGetFunction", CUfunction* function, CUmodule module, const char* name)                        \
  F(CUresult, cuFuncSetAttribute, "cuFuncSetAttribute", CUfunction function, CUfunction_attribute attribute, int value)                   \
  F(CUresult, cuFuncGetAttribute, "cuFuncGetAttribute", int* value, CUfunction_attribute attribute, CUfunction function)                  \
  F(CUresult, cuLaunchKernel, "cuLaunchKernel", CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,  \
    unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream, void** arguments, void** extra)                           \
  F(CUresult, cuLaunchHostFunc, "cuLaunchHostFunc", CUstream stream, CUhostFn function, void* data)                                       \
  F(CUresult, cuOccupancyMaxActiveBlocksPerMultiprocessor, "cuOccupancyMaxActiveBlocksPerMultiprocessor", int* count, CUfunction function, \
    int block_size, size_t shared_bytes)                                                                                                  \
  F(CUresult, cuGraphInstantiate, "cuGraphInstantiateWithFlags", CUgraphExec* exec, CUgraph graph, unsigned long long flags)              \
  F(CUresult, cuGraphLaunch, "cuGraphLaunch", CUgraphExec exec, CUstream stream)                                                          \
  F(CUresult, cuGraphExecDestroy, "cuGraphExecDestroy", CUgraphExec exec)                                                                 \
  F(CUresult, cuGraphDestroy, "cuGraphDestroy", CUgraph graph)

struct Driver {
  int version = 0;  // 13000 for 13.0
  Library library;
  MERAK_DRIVER_FUNCTIONS(MERAK_MEMBER)
};

// The oldest driver that will do: graphs, cuGraphInstantiateWithFlags and the cubins of CUDA 12.
constexpr int kOldestDriver = 12000;

// Looks for the library, once; `library.handle` is null where there is none that will do.
const Driver& find_driver();
// The driver, initialised. Throws EngineError('engine/no-gpu') saying where was looked, or that no device is there.
const Driver& driver();
// Number of CUDA devices, 0 without a driver; does not throw.
int num_devices();

// Throws EngineError: 'plan/out-of-memory' for device memory, else 'engine/cuda'. `call` is the function's name.
void check(CUresult result, const char* call);

}  // namespace merak::cuda
