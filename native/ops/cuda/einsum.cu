// Sums over products of up to four operands, of whatever dims: what no matrix product computes.
#include "device/reduce.cuh"

// Dims from the outermost in; strides by operand.
struct Dims {
  int rank;
  u32 sizes[8];
  i64 strides[4][8];
};

__device__ inline void add_offsets(i64 rest, const Dims& dims, i64* offsets) {
  for (int d = dims.rank - 1; d >= 0; d--) {
    const i64 index = rest % dims.sizes[d];
    rest /= dims.sizes[d];
#pragma unroll
    for (int k = 0; k < 4; k++) offsets[k] += index * dims.strides[k][d];
  }
}

// A warp a result.
extern "C" __global__ void einsum(const float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ c, const float* __restrict__ d, float* __restrict__ y,
                                  int num_operands, Dims outer, Dims inner, i64 summed) {
  i64 first[4] = {0, 0, 0, 0};
  add_offsets(blockIdx.x, outer, first);
  double sum = 0;
  for (i64 i = threadIdx.x; i < summed; i += 32) {
    i64 at[4] = {first[0], first[1], first[2], first[3]};
    add_offsets(i, inner, at);
    double product = a[at[0]];
    if (num_operands > 1) product *= b[at[1]];
    if (num_operands > 2) product *= c[at[2]];
    if (num_operands > 3) product *= d[at[3]];
    sum += product;
  }
  sum = over_warp<SumOf<double>>(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = (float)sum;
}
