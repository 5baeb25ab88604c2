// Local response normalisation: norm_c = bias + alpha * the sum of squares of the channels within the radius of c; y = x norm^-beta.
#include "device/numbers.cuh"

struct Response {
  int channels, radius;
  float bias, alpha, beta;
};

// Calls visit(index) for the neighbours of element i of [pixels, channels] within the radius, the first one first.
template <class Visit>
__device__ inline void for_neighbours(const Response& r, i64 i, const Visit& visit) {
  const int channel = (int)(i % r.channels);
  const int first = channel > r.radius ? channel - r.radius : 0, last = channel < r.channels - 1 - r.radius ? channel + r.radius : r.channels - 1;
  for (int c = first; c <= last; c++) visit(i - channel + c);
}

// A thread an element. Kept where the gradient wants norms.
extern "C" __global__ void response_norm(const float* __restrict__ x, float* __restrict__ y, Response r, int keeps_norm, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for_neighbours(r, i, [&](i64 k) { sum += x[k] * x[k]; });
  const float norm = r.bias + r.alpha * sum;
  y[i] = keeps_norm ? norm : x[i] * powf(norm, -r.beta);
}

// dx_k = dy_k norm_k^-beta - 2 alpha beta x_k * the sum over c near k of dy_c y_c / norm_c
extern "C" __global__ void response_norm_grad(const float* __restrict__ x, const float* __restrict__ y, const float* __restrict__ dy, const float* __restrict__ norms, float* __restrict__ dx,
                                              Response r, i64 count) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for_neighbours(r, i, [&](i64 c) { sum += dy[c] * y[c] / norms[c]; });
  dx[i] = dy[i] * powf(norms[i], -r.beta) - 2 * r.alpha * r.beta * x[i] * sum;
}
