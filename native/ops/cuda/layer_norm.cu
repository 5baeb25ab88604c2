// MerakLayerNorm and MerakLayerNormGrad (Ba et al. 2016), a row's elements in registers. THREADS: 32 (a warp a row) or the block's;
// VECTOR: elements an access, 4 or 1; PER: accesses a thread; Y: type of y; DY: type of dy.
#include "device/intrinsics.cuh"
#include "device/reduce.cuh"

constexpr int kValues = PER * VECTOR;

// This thread's elements of a row.
template <class T>
__device__ inline void read_row(float (&x)[kValues], const T* __restrict__ row, int width) {
  const int t = threadIdx.x % THREADS;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const int at = (i * THREADS + t) * VECTOR;
    if (VECTOR == 4) {
      const float4 four = at < width ? load4(row + at) : make_float4(0, 0, 0, 0);
      x[i * VECTOR] = four.x;
      x[(i * VECTOR + 1) % kValues] = four.y;
      x[(i * VECTOR + 2) % kValues] = four.z;
      x[(i * VECTOR + 3) % kValues] = four.w;
    } else {
      x[i] = at < width ? to_float(row[at]) : 0.0f;
    }
  }
}
template <class T>
__device__ inline void write_row(const float (&x)[kValues], T* __restrict__ row, int width) {
  const int t = threadIdx.x % THREADS;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    const int at = (i * THREADS + t) * VECTOR;
    if (at >= width) continue;
    if (VECTOR == 4)
      store4(row + at, make_float4(x[i * VECTOR], x[(i * VECTOR + 1) % kValues], x[(i * VECTOR + 2) % kValues], x[(i * VECTOR + 3) % kValues]));
    else
      row[at] = Number<T>::from(x[i]);
  }
}
// Whether element e of this thread's lies in the row.
__device__ inline bool is_inside(int e, int width) { return (e / VECTOR * THREADS + (int)threadIdx.x % THREADS) * VECTOR + e % VECTOR < width; }

__device__ inline float sum_of_row(float x, float* shared) {
  return THREADS == 32 ? over_warp<SumOf<float>>(x) : sum_over_block(x, shared);
}

extern "C" __global__ void layer_norm(const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta,
                                      Y* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, int num_rows, int width, float epsilon) {
  __shared__ float shared[33];
  const i64 row = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / THREADS;
  if (row >= num_rows) return;
  float values[kValues], sum = 0, squares = 0;
  read_row(values, x + row * width, width);
#pragma unroll
  for (int e = 0; e < kValues; e++) sum += values[e];
  const float mu = sum_of_row(sum, shared) / (float)width;
#pragma unroll
  for (int e = 0; e < kValues; e++) squares += is_inside(e, width) ? (values[e] - mu) * (values[e] - mu) : 0.0f;
  const float scale = 1.0f / sqrtf(sum_of_row(squares, shared) / (float)width + epsilon);
  float factor[kValues], shift[kValues];
  read_row(factor, gamma, width);
  read_row(shift, beta, width);
#pragma unroll
  for (int e = 0; e < kValues; e++) values[e] = (values[e] - mu) * scale * factor[e] + shift[e];
  write_row(values, y + row * width, width);
  if (threadIdx.x % THREADS == 0) {
    mean[row] = mu;
    rstd[row] = scale;
  }
}

// Every block adds dgamma and dbeta of its rows in their order and writes the sums to its row of `parts`, [2, blocks, width].
// `residual` may be null. Shared memory for a warp a row: 2 width floats.
extern "C" __global__ void layer_norm_grad(const DY* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ gamma,
                                           const float* __restrict__ mean, const float* __restrict__ rstd, const float* __restrict__ residual,
                                           float* __restrict__ dx, float* __restrict__ parts, int num_rows, int width) {
  __shared__ float shared[33];
  const int groups = blockDim.x / THREADS, group = threadIdx.x / THREADS;
  float gamma_sums[kValues] = {}, beta_sums[kValues] = {};
  for (i64 row = (i64)blockIdx.x * groups + group; row < num_rows; row += (i64)gridDim.x * groups) {
    float normal[kValues], slope[kValues], factor[kValues];
    read_row(normal, x + row * width, width);
    read_row(slope, dy + row * width, width);
    read_row(factor, gamma, width);
    const float mu = mean[row], scale = rstd[row];
    float sum = 0, product = 0;
#pragma unroll
    for (int e = 0; e < kValues; e++) {
      normal[e] = (normal[e] - mu) * scale;
      gamma_sums[e] += slope[e] * normal[e];
      beta_sums[e] += slope[e];
      slope[e] *= factor[e];
      sum += slope[e];
      product += slope[e] * normal[e];
    }
    sum = sum_of_row(sum, shared) / (float)width;
    product = sum_of_row(product, shared) / (float)width;
    float more[kValues] = {};
    if (residual) read_row(more, residual + row * width, width);
#pragma unroll
    for (int e = 0; e < kValues; e++) slope[e] = more[e] + scale * (slope[e] - sum - normal[e] * product);
    write_row(slope, dx + row * width, width);
  }
  float* part = parts + (i64)blockIdx.x * width;
  const i64 beta_at = (i64)gridDim.x * width;
  if (THREADS != 32) {
    write_row(gamma_sums, part, width);
    write_row(beta_sums, part + beta_at, width);
    return;
  }
  // One warp after the other, so that the order is fixed.
  float* sums = (float*)dynamic_shared();
  for (int turn = 0; turn < groups; turn++) {
    if (turn == group) {
      float before[kValues] = {};
      if (turn > 0) read_row(before, sums, width);
      for (int e = 0; e < kValues; e++) before[e] += gamma_sums[e];
      turn + 1 < groups ? write_row(before, sums, width) : write_row(before, part, width);
      for (int e = 0; e < kValues; e++) before[e] = 0;
      if (turn > 0) read_row(before, sums + width, width);
      for (int e = 0; e < kValues; e++) before[e] += beta_sums[e];
      turn + 1 < groups ? write_row(before, sums + width, width) : write_row(before, part + beta_at, width);
    }
    __syncthreads();
  }
}
