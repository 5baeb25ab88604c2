// Element by element: rounding to 16 bits and widening (FROM, TO), adding to a sum, what follows a product.
#include "device/gelu.cuh"
#include "device/numbers.cuh"

extern "C" __global__ void convert(const FROM* __restrict__ x, TO* __restrict__ y, i64 n) {
  const i64 i = 4 * ((i64)blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 <= n) return store4(y + i, load4(x + i));
  for (i64 k = i; k < n; k++) y[k] = Number<TO>::from(to_float(x[k]));
}

extern "C" __global__ void accumulate(const float* __restrict__ x, float* __restrict__ y, i64 n) {
  const i64 i = 4 * ((i64)blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 <= n) {
    const float4 a = load4(x + i), b = load4(y + i);
    return store4(y + i, make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w));
  }
  for (i64 k = i; k < n; k++) y[k] += x[k];
}

extern "C" __global__ void scale(float* __restrict__ x, i64 n, float factor) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}
