// MerakEmbedding.
#include "device/intrinsics.cuh"
#include "device/reduce.cuh"
#include "device/step.cuh"

// A warp for each id.
extern "C" __global__ void embedding(const float* __restrict__ table, const int* __restrict__ ids, float* __restrict__ out, i64 num_ids,
                                     int num_rows, int width, int offset, int sharded, MerakStep* step) {
  const i64 i = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x & 31;
  if (i >= num_ids) return;
  const i64 row = (i64)ids[i] - offset;
  const bool is_there = row >= 0 && row < num_rows;
  if (!is_there && !sharded && lane == 0) note_outside(step, ids[i], num_rows);
  const float* from = table + row * width;
  float* to = out + i * width;
  if (width % 4 == 0)
    for (int c = lane * 4; c < width; c += 128) store4(to + c, is_there ? load4(from + c) : make_float4(0, 0, 0, 0));
  else
    for (int c = lane; c < width; c += 32) to[c] = is_there ? from[c] : 0.0f;
}
