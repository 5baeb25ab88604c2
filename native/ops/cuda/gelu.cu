// MerakGelu and MerakGeluGrad. X, DY, Y: number types; TANH: 0 or 1.
#include "device/gelu.cuh"
#include "device/numbers.cuh"

// Four elements a thread.
extern "C" __global__ void gelu(const X* __restrict__ x, Y* __restrict__ y, i64 n) {
  const i64 i = 4 * ((i64)blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 <= n) {
    const float4 a = load4(x + i);
    store4(y + i, make_float4(gelu_at<TANH>(a.x), gelu_at<TANH>(a.y), gelu_at<TANH>(a.z), gelu_at<TANH>(a.w)));
    return;
  }
  for (i64 k = i; k < n; k++) y[k] = Number<Y>::from(gelu_at<TANH>(to_float(x[k])));
}

extern "C" __global__ void gelu_grad(const DY* __restrict__ dy, const X* __restrict__ x, Y* __restrict__ dx, i64 n) {
  const i64 i = 4 * ((i64)blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 <= n) {
    const float4 a = load4(x + i), b = load4(dy + i);
    store4(dx + i, make_float4(b.x * gelu_slope<TANH>(a.x), b.y * gelu_slope<TANH>(a.y), b.z * gelu_slope<TANH>(a.z),
                               b.w * gelu_slope<TANH>(a.w)));
    return;
  }
  for (i64 k = i; k < n; k++) dx[k] = Number<Y>::from(to_float(dy[k]) * gelu_slope<TANH>(to_float(x[k])));
}
