// What follows a product (docs/kernels.md, MerakProduct): + bias, + residual, times gelu's slope at `point`, rounding, gelu of the result.
// OUT, POINT, ACTIVATED: number types; GELU: 0 none, 1 tanh, 2 erf; VECTOR: 4 or 1 neighbours a thread.
#include "device/gelu.cuh"
#include "device/numbers.cuh"

#if GELU
__device__ inline float slope_at(float x) { return GELU == 1 ? gelu_slope<true>(x) : gelu_slope<false>(x); }
__device__ inline float activated_at(float x) { return GELU == 1 ? gelu_at<true>(x) : gelu_at<false>(x); }
#endif

template <class T>
__device__ inline void read(float (&x)[VECTOR], const T* from) {
  if (VECTOR == 4) {
    const float4 four = load4(from);
    x[0] = four.x;
    x[1 % VECTOR] = four.y;
    x[2 % VECTOR] = four.z;
    x[3 % VECTOR] = four.w;
  } else {
    x[0] = to_float(from[0]);
  }
}
template <class T>
__device__ inline void write(const float (&x)[VECTOR], T* to) {
  if (VECTOR == 4) store4(to, make_float4(x[0], x[1 % VECTOR], x[2 % VECTOR], x[3 % VECTOR]));
  else to[0] = Number<T>::from(x[0]);
}

// bias, residual, point and activated may be null; `sums` may be `out`.
extern "C" __global__ void finish(const float* sums, const float* __restrict__ bias, const float* residual, const POINT* __restrict__ point,
                                  OUT* out, ACTIVATED* __restrict__ activated, i64 n, int width) {
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
  if (i >= n) return;
  float x[VECTOR], more[VECTOR];
  read(x, sums + i);
  if (bias) {
    read(more, bias + (n <= 0xffffffffll ? (i64)((u32)i % (u32)width) : i % width));
    for (int v = 0; v < VECTOR; v++) x[v] += more[v];
  }
  if (residual) {
    read(more, residual + i);
    for (int v = 0; v < VECTOR; v++) x[v] += more[v];
  }
#if GELU
  if (point) {
    read(more, point + i);
    for (int v = 0; v < VECTOR; v++) x[v] *= slope_at(more[v]);
  }
#endif
  write(x, out + i);
#if GELU
  if (!activated) return;
  // Of the result as it is stored: its gradient takes the slope there.
  for (int v = 0; v < VECTOR; v++) x[v] = activated_at(to_float(Number<OUT>::from(x[v])));
  write(x, activated + i);
#endif
}
