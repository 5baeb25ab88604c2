// NCCL: collectives between GPUs. Names and numbers are those of NVIDIA's nccl.h; what it asks for is there since 2.17.
#pragma once
#include <climits>  // INT_MIN
#include <cstddef>  // size_t
#include <string>   // messages

#include "cuda/driver.h"  // CUstream

namespace merak::cuda {

using ncclComm_t = struct ncclComm*;

enum ncclResult_t : int {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
};
enum ncclDataType_t : int {
  ncclInt8 = 0,
  ncclUint8 = 1,
  ncclInt32 = 2,
  ncclUint32 = 3,
  ncclInt64 = 4,
  ncclUint64 = 5,
  ncclFloat16 = 6,
  ncclFloat32 = 7,
  ncclFloat64 = 8,
  ncclBfloat16 = 9,
};
enum ncclRedOp_t : int { ncclSum = 0, ncclProd = 1, ncclMax = 2, ncclMin = 3, ncclAvg = 4 };
enum ncclScalarResidence_t : int { ncclScalarDevice = 0, ncclScalarHostImmediate = 1 };

struct ncclUniqueId {
  char internal[128];
};

// ncclConfig_t as of 2.17; later versions append to it and go by `size` and `version`.
struct ncclConfig_t {
  size_t size = sizeof(ncclConfig_t);
  unsigned magic = 0xcafebeef;
  unsigned version = 21700;
  int blocking = INT_MIN;  // INT_MIN and null: as NCCL likes
  int cgaClusterSize = INT_MIN;
  int minCTAs = INT_MIN;
  int maxCTAs = INT_MIN;
  const char* netName = nullptr;
};

#define MERAK_NCCL_FUNCTIONS(F)                                                                                                           \
  F(ncclResult_t, ncclGetVersion, "ncclGetVersion", int* version)                                                                         \
  F(const char*, ncclGetErrorString, "ncclGetErrorString", ncclResult_t result)                                                           \
  F(const char*, ncclGetLastError, "ncclGetLastError", ncclComm_t comm)                                                                   \
  F(ncclResult_t, ncclGetUniqueId, "ncclGetUniqueId", ncclUniqueId* id)                                                                   \
  F(ncclResult_t, ncclCommInitRankConfig, "ncclCommInitRankConfig", ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank,           \
    ncclConfig_t* config)                                                                                                                 \
  F(ncclResult_t, ncclCommFinalize, "ncclCommFinalize", ncclComm_t comm)                                                                  \
  F(ncclResult_t, ncclCommDestroy, "ncclCommDestroy", ncclComm_t comm)                                                                    \
  F(ncclResult_t, ncclCommAbort, "ncclCommAbort", ncclComm_t comm)                                                                        \
  F(ncclResult_t, ncclCommGetAsyncError, "ncclCommGetAsyncError", ncclComm_t comm, ncclResult_t* error)                                   \
  F(ncclResult_t, ncclAllReduce, "ncclAllReduce", const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,          \
    ncclComm_t comm, CUstream stream)                                                                                                     \
  F(ncclResult_t, ncclReduceScatter, "ncclReduceScatter", const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,  \
    ncclComm_t comm, CUstream stream)                                                                                                     \
  F(ncclResult_t, ncclAllGather, "ncclAllGather", const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,         \
    CUstream stream)                                                                                                                      \
  F(ncclResult_t, ncclBroadcast, "ncclBroadcast", const void* from, void* to, size_t count, ncclDataType_t type, int root,                \
    ncclComm_t comm, CUstream stream)                                                                                                     \
  F(ncclResult_t, ncclSend, "ncclSend", const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream stream)  \
  F(ncclResult_t, ncclRecv, "ncclRecv", void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream stream)          \
  F(ncclResult_t, ncclRedOpCreatePreMulSum, "ncclRedOpCreatePreMulSum", ncclRedOp_t* op, void* scalar, ncclDataType_t type,               \
    ncclScalarResidence_t residence, ncclComm_t comm)                                                                                     \
  F(ncclResult_t, ncclGroupStart, "ncclGroupStart", void)                                                                                 \
  F(ncclResult_t, ncclGroupEnd, "ncclGroupEnd", void)

// Younger than the oldest that will do; null where the library has none.
#define MERAK_NCCL_NEWER_FUNCTIONS(F)                                                                                                     \
  F(ncclResult_t, ncclCommShrink, "ncclCommShrink", ncclComm_t comm, int* excluded, int num_excluded, ncclComm_t* smaller,                \
    ncclConfig_t* config, int flags)                                                                                                      \
  F(ncclResult_t, ncclCommRevoke, "ncclCommRevoke", ncclComm_t comm, int flags)                                                           \
  F(ncclResult_t, ncclCommWindowRegister, "ncclCommWindowRegister", ncclComm_t comm, void* data, size_t bytes, void** window, int flags)

struct Nccl {
  int version = 0;  // 22907 for 2.29.7
  Library library;
  MERAK_NCCL_FUNCTIONS(MERAK_MEMBER)
  MERAK_NCCL_NEWER_FUNCTIONS(MERAK_MEMBER)
};

// Passed over where it is older than 2.17 or one of the versions known to be bad (known_bad).
const Nccl& find_nccl();
// Throws EngineError('engine/unsupported') saying where was looked.
const Nccl& nccl();
// "2.29.7".
std::string nccl_version_text(int version);
// Why not to use a version, with the source of the claim; '' where nothing is known against it.
std::string known_bad_nccl(int version);
// Why CUDA graphs are not to hold a version's calls; '' where nothing is known against it.
std::string nccl_graph_problem(int version);
// Throws EngineError('engine/cuda') unless the call succeeded or goes on in the background.
void check(ncclResult_t result, const char* call, ncclComm_t comm = nullptr);

}  // namespace merak::cuda
