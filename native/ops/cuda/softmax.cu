// Softmax and LogSoftmax over the last dim, a block for each row. LOGARITHM: 0 or 1.
#include "device/reduce.cuh"

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int width) {
  __shared__ float shared[33];
  const float* row = x + (i64)blockIdx.x * width;
  float* result = y + (i64)blockIdx.x * width;
  float top = -MERAK_INFINITY, sum = 0;
  for (int i = threadIdx.x; i < width; i += blockDim.x) top = MaxOf::join(top, row[i]);
  top = max_over_block(top, shared);
  for (int i = threadIdx.x; i < width; i += blockDim.x) sum += expf(row[i] - top);
  sum = sum_over_block(sum, shared);
  const float shift = logf(sum), factor = 1.0f / sum;
  for (int i = threadIdx.x; i < width; i += blockDim.x) result[i] = LOGARITHM ? row[i] - top - shift : expf(row[i] - top) * factor;
}
