// cuDNN: convolutions, by the interface that versions 8 and 9 share (9 calls it legacy; it takes channels-last tensors of 16-bit floats
// as the newer graph interface does). Names and numbers are those of NVIDIA's cudnn.h.
#pragma once
#include <cstddef>  // size_t

#include "cuda/driver.h"  // CUstream
#include "cuda/table.h"   // MERAK_MEMBER

namespace merak::cuda {

using cudnnHandle_t = struct cudnnContext*;
// NVIDIA's descriptors of tensors, filters and convolutions are three pointer types; as arguments they are one.
using cudnnDescriptor_t = struct cudnnDescriptor*;

enum cudnnStatus_t : int { CUDNN_STATUS_SUCCESS = 0 };
enum cudnnDataType_t : int { CUDNN_DATA_FLOAT = 0, CUDNN_DATA_HALF = 2, CUDNN_DATA_BFLOAT16 = 9 };
enum cudnnTensorFormat_t : int { CUDNN_TENSOR_NCHW = 0, CUDNN_TENSOR_NHWC = 1 };
enum cudnnConvolutionMode_t : int { CUDNN_CONVOLUTION = 0, CUDNN_CROSS_CORRELATION = 1 };
enum cudnnDeterminism_t : int { CUDNN_NON_DETERMINISTIC = 0, CUDNN_DETERMINISTIC = 1 };
// Of float32: DEFAULT lets tensor cores round operands to tf32, FMA does not. Of 16 bits: TENSOR_OP.
enum cudnnMathType_t : int { CUDNN_DEFAULT_MATH = 0, CUDNN_TENSOR_OP_MATH = 1, CUDNN_FMA_MATH = 3 };

struct cudnnConvolutionAlgoPerf_t {
  int algo = 0;
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  float time = 0;
  size_t memory = 0;
  cudnnDeterminism_t determinism = CUDNN_NON_DETERMINISTIC;
  cudnnMathType_t mathType = CUDNN_DEFAULT_MATH;
  int reserved[3] = {};
};

#define MERAK_CUDNN_ALGORITHM_PARAMETERS                                                                                          \
  cudnnHandle_t handle, cudnnDescriptor_t first, cudnnDescriptor_t second, cudnnDescriptor_t convolution, cudnnDescriptor_t result, \
      int wanted, int *found, cudnnConvolutionAlgoPerf_t *algorithms
#define MERAK_CUDNN_WORKSPACE_PARAMETERS                                                                                          \
  cudnnHandle_t handle, cudnnDescriptor_t first, cudnnDescriptor_t second, cudnnDescriptor_t convolution, cudnnDescriptor_t result, \
      int algorithm, size_t *bytes
#define MERAK_CUDNN_RUN_PARAMETERS                                                                                                    \
  cudnnHandle_t handle, const void *alpha, cudnnDescriptor_t first_descriptor, const void *first, cudnnDescriptor_t second_descriptor, \
      const void *second, cudnnDescriptor_t convolution, int algorithm, void *workspace, size_t bytes, const void *beta,               \
      cudnnDescriptor_t result_descriptor, void *result

// In the functions of convolutions `first`, `second` -> `result` are: forward x, filter -> y; backward data filter, dy -> dx; backward filter
// x, dy -> dfilter.
#define MERAK_CUDNN_FUNCTIONS(F)                                                                                                          \
  F(const char*, cudnnGetErrorString, "cudnnGetErrorString", cudnnStatus_t status)                                                        \
  F(cudnnStatus_t, cudnnCreate, "cudnnCreate", cudnnHandle_t* handle)                                                                     \
  F(cudnnStatus_t, cudnnDestroy, "cudnnDestroy", cudnnHandle_t handle)                                                                    \
  F(cudnnStatus_t, cudnnSetStream, "cudnnSetStream", cudnnHandle_t handle, CUstream stream)                                               \
  F(cudnnStatus_t, cudnnCreateTensorDescriptor, "cudnnCreateTensorDescriptor", cudnnDescriptor_t* tensor)                                 \
  F(cudnnStatus_t, cudnnDestroyTensorDescriptor, "cudnnDestroyTensorDescriptor", cudnnDescriptor_t tensor)                                \
  F(cudnnStatus_t, cudnnSetTensorNdDescriptorEx, "cudnnSetTensorNdDescriptorEx", cudnnDescriptor_t tensor, cudnnTensorFormat_t format,    \
    cudnnDataType_t type, int num_dims, const int* dims)                                                                                  \
  F(cudnnStatus_t, cudnnCreateFilterDescriptor, "cudnnCreateFilterDescriptor", cudnnDescriptor_t* filter)                                 \
  F(cudnnStatus_t, cudnnDestroyFilterDescriptor, "cudnnDestroyFilterDescriptor", cudnnDescriptor_t filter)                                \
  F(cudnnStatus_t, cudnnSetFilterNdDescriptor, "cudnnSetFilterNdDescriptor", cudnnDescriptor_t filter, cudnnDataType_t type,              \
    cudnnTensorFormat_t format, int num_dims, const int* dims)                                                                            \
  F(cudnnStatus_t, cudnnCreateConvolutionDescriptor, "cudnnCreateConvolutionDescriptor", cudnnDescriptor_t* convolution)                  \
  F(cudnnStatus_t, cudnnDestroyConvolutionDescriptor, "cudnnDestroyConvolutionDescriptor", cudnnDescriptor_t convolution)                 \
  F(cudnnStatus_t, cudnnSetConvolutionNdDescriptor, "cudnnSetConvolutionNdDescriptor", cudnnDescriptor_t convolution, int num_dims,       \
    const int* pads, const int* strides, const int* dilations, cudnnConvolutionMode_t mode, cudnnDataType_t sums)                         \
  F(cudnnStatus_t, cudnnSetConvolutionMathType, "cudnnSetConvolutionMathType", cudnnDescriptor_t convolution, cudnnMathType_t math)       \
  F(cudnnStatus_t, forward_algorithms, "cudnnGetConvolutionForwardAlgorithm_v7", MERAK_CUDNN_ALGORITHM_PARAMETERS)                        \
  F(cudnnStatus_t, data_algorithms, "cudnnGetConvolutionBackwardDataAlgorithm_v7", MERAK_CUDNN_ALGORITHM_PARAMETERS)                      \
  F(cudnnStatus_t, filter_algorithms, "cudnnGetConvolutionBackwardFilterAlgorithm_v7", MERAK_CUDNN_ALGORITHM_PARAMETERS)                  \
  F(cudnnStatus_t, forward_workspace, "cudnnGetConvolutionForwardWorkspaceSize", MERAK_CUDNN_WORKSPACE_PARAMETERS)                        \
  F(cudnnStatus_t, data_workspace, "cudnnGetConvolutionBackwardDataWorkspaceSize", MERAK_CUDNN_WORKSPACE_PARAMETERS)                      \
  F(cudnnStatus_t, filter_workspace, "cudnnGetConvolutionBackwardFilterWorkspaceSize", MERAK_CUDNN_WORKSPACE_PARAMETERS)                  \
  F(cudnnStatus_t, run_forward, "cudnnConvolutionForward", MERAK_CUDNN_RUN_PARAMETERS)                                                    \
  F(cudnnStatus_t, run_data, "cudnnConvolutionBackwardData", MERAK_CUDNN_RUN_PARAMETERS)                                                  \
  F(cudnnStatus_t, run_filter, "cudnnConvolutionBackwardFilter", MERAK_CUDNN_RUN_PARAMETERS)

struct Cudnn {
  size_t version = 0;  // 91002 for 9.10.2, 8907 for 8.9.7
  Library library;
  MERAK_CUDNN_FUNCTIONS(MERAK_MEMBER)
};

// Looked for once; `library.handle` is null where none will do.
const Cudnn& find_cudnn();
// What convolutions run through: find_cudnn() where there is one and MERAK_CUDNN is not 'off', else null.
const Cudnn* cudnn();
std::string cudnn_version_text(size_t version);
// Throws EngineError 'engine/cuda' naming the call.
void check(cudnnStatus_t status, const char* call);

}  // namespace merak::cuda
