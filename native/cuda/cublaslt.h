// cuBLASLt: matrix products with fused epilogues. Names and numbers are those of NVIDIA's cublasLt.h.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // fixed-width integers

#include "cuda/driver.h"  // CUstream

namespace merak::cuda {

using cublasLtHandle_t = struct cublasLtContext*;
using cublasLtMatmulDesc_t = struct cublasLtMatmulDescOpaque_t*;
using cublasLtMatrixLayout_t = struct cublasLtMatrixLayoutOpaque_t*;
using cublasLtMatmulPreference_t = struct cublasLtMatmulPreferenceOpaque_t*;

enum cublasStatus_t : int {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_ARCH_MISMATCH = 8,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_INTERNAL_ERROR = 14,
  CUBLAS_STATUS_NOT_SUPPORTED = 15,
};
enum cudaDataType_t : int { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
enum cublasComputeType_t : int {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32F_PEDANTIC = 69,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};
enum cublasOperation_t : int { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasLtOrder_t : int { CUBLASLT_ORDER_COL = 0, CUBLASLT_ORDER_ROW = 1 };

enum cublasLtMatmulDescAttributes_t : int {
  CUBLASLT_MATMUL_DESC_COMPUTE_TYPE = 0,
  CUBLASLT_MATMUL_DESC_SCALE_TYPE = 1,
  CUBLASLT_MATMUL_DESC_POINTER_MODE = 2,
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_TRANSB = 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,
  CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE = 10,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER = 11,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD = 12,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE = 13,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE = 22,
  CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26,
};
// Of D = act(A op B * alpha + C * beta + bias), column major: bias has one element per row of D.
enum cublasLtEpilogue_t : int {
  CUBLASLT_EPILOGUE_DEFAULT = 1,
  CUBLASLT_EPILOGUE_BIAS = 4,
  CUBLASLT_EPILOGUE_GELU = 32,
  CUBLASLT_EPILOGUE_GELU_BIAS = 36,
  CUBLASLT_EPILOGUE_GELU_AUX = 160,
  CUBLASLT_EPILOGUE_GELU_AUX_BIAS = 164,
  CUBLASLT_EPILOGUE_DGELU = 192,
  CUBLASLT_EPILOGUE_DGELU_BGRAD = 208,
  CUBLASLT_EPILOGUE_BGRADA = 256,
  CUBLASLT_EPILOGUE_BGRADB = 512,
};
enum cublasLtMatrixLayoutAttribute_t : int {
  CUBLASLT_MATRIX_LAYOUT_TYPE = 0,
  CUBLASLT_MATRIX_LAYOUT_ORDER = 1,
  CUBLASLT_MATRIX_LAYOUT_ROWS = 2,
  CUBLASLT_MATRIX_LAYOUT_COLS = 3,
  CUBLASLT_MATRIX_LAYOUT_LD = 4,
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,            // int32
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6,  // int64, in elements
};
enum cublasLtMatmulPreferenceAttributes_t : int {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
};

struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

#define MERAK_CUBLASLT_FUNCTIONS(F)                                                                                                       \
  F(size_t, cublasLtGetVersion, "cublasLtGetVersion", void)                                                                               \
  F(const char*, cublasLtGetStatusString, "cublasLtGetStatusString", cublasStatus_t status)                                               \
  F(cublasStatus_t, cublasLtCreate, "cublasLtCreate", cublasLtHandle_t* handle)                                                           \
  F(cublasStatus_t, cublasLtDestroy, "cublasLtDestroy", cublasLtHandle_t handle)                                                          \
  F(cublasStatus_t, cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate", cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,        \
    cudaDataType_t scale)                                                                                                                 \
  F(cublasStatus_t, cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy", cublasLtMatmulDesc_t desc)                                    \
  F(cublasStatus_t, cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute", cublasLtMatmulDesc_t desc,                          \
    cublasLtMatmulDescAttributes_t attribute, const void* value, size_t bytes)                                                            \
  F(cublasStatus_t, cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate", cublasLtMatrixLayout_t* layout, cudaDataType_t type,        \
    uint64_t rows, uint64_t columns, int64_t leading)                                                                                     \
  F(cublasStatus_t, cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy", cublasLtMatrixLayout_t layout)                            \
  F(cublasStatus_t, cublasLtMatrixLayoutSetAttribute, "cublasLtMatrixLayoutSetAttribute", cublasLtMatrixLayout_t layout,                  \
    cublasLtMatrixLayoutAttribute_t attribute, const void* value, size_t bytes)                                                           \
  F(cublasStatus_t, cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate", cublasLtMatmulPreference_t* preference)             \
  F(cublasStatus_t, cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy", cublasLtMatmulPreference_t preference)            \
  F(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute", cublasLtMatmulPreference_t preference,  \
    cublasLtMatmulPreferenceAttributes_t attribute, const void* value, size_t bytes)                                                      \
  F(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic", cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, \
    cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,                               \
    cublasLtMatmulPreference_t preference, int wanted, cublasLtMatmulHeuristicResult_t* results, int* found)                              \
  F(cublasStatus_t, cublasLtMatmul, "cublasLtMatmul", cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,              \
    const void* a, cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,      \
    cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,         \
    size_t workspace_bytes, CUstream stream)

struct CublasLt {
  int version = 0;  // 130002 for 13.0.2
  Library library;
  MERAK_CUBLASLT_FUNCTIONS(MERAK_MEMBER)
};

// A library of a newer major version than the driver's is passed over.
const CublasLt& find_cublaslt();
// Throws EngineError('engine/unsupported') saying where was looked.
const CublasLt& cublaslt();
// Throws EngineError('engine/cuda').
void check(cublasStatus_t status, const char* call);

}  // namespace merak::cuda
