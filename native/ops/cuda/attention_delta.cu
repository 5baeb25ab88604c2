// What attention's backward kernels need beside their operands: delta, the sum of dy out over the depth, and dy in 16 bits.
// DY, OUT: types of dy and out; T: the narrow type of `rounded`.
#include "device/reduce.cuh"

// A warp for each (sequence, position, head), rows side by side; delta is [batch, heads, positions]. `rounded` may be null.
extern "C" __global__ void attention_delta(const DY* __restrict__ dy, const OUT* __restrict__ out, float* __restrict__ delta,
                                           T* __restrict__ rounded, i64 num_rows, int length, int num_heads, int depth) {
  const i64 row = ((i64)blockIdx.x * blockDim.x + threadIdx.x) >> 5;
  const int lane = threadIdx.x & 31;
  if (row >= num_rows) return;
  float sum = 0;
  for (int c = lane; c < depth; c += 32) {
    const DY slope = dy[row * depth + c];
    T narrow = Number<T>::from(to_float(slope));
    if (rounded) rounded[row * depth + c] = narrow;
    sum += (rounded ? to_float(narrow) : to_float(slope)) * to_float(out[row * depth + c]);
  }
  sum = over_warp<SumOf<float>>(sum);
  if (lane != 0) return;
  const i64 head = row % num_heads, position = row / num_heads % length, sequence = row / num_heads / length;
  delta[(sequence * num_heads + head) * length + position] = sum;
}
