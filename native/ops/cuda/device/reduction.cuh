// Reductions over [outer, reduced, inner] of what a `Source` of the including text gives: at(i) is element i. Y: the result's number type;
// WORK: float or double; OP: the joining operation (elementwise.cuh); IDENTITY: what it starts from. The order of joining depends on
// the shape alone.
#pragma once
#include "elementwise.cuh"
#include "reduce.cuh"

struct Join {
  __device__ static WORK identity() { return WORK(IDENTITY); }
  __device__ static WORK join(WORK a, WORK b) { return OP(a, b); }
};

// Rows of neighbours: block (r, p) joins elements [p piece, (p + 1) piece) of row r to y[r, p].
extern "C" __global__ void reduce_rows(Source x, Y* __restrict__ y, i64 reduced, i64 piece, WORK scale) {
  __shared__ WORK shared[33];
  const i64 begin = (i64)blockIdx.y * piece, end = min(reduced, begin + piece);
  const i64 row = (i64)blockIdx.x * reduced;
  WORK total = Join::identity();
#pragma unroll 4
  for (i64 i = begin + threadIdx.x; i < end; i += blockDim.x) total = Join::join(total, x.at(row + i));
  total = over_block<Join>(total, shared);
  if (threadIdx.x == 0) write_number<WORK>(y, (i64)blockIdx.x * gridDim.y + blockIdx.y, total * scale);
}

// Columns: block (i, p, o) of 32 x 8 threads joins rows [p piece, (p + 1) piece) of 32 columns to y[p, o].
extern "C" __global__ void reduce_columns(Source x, Y* __restrict__ y, i64 reduced, i64 inner, i64 piece, WORK scale) {
  __shared__ WORK parts[8][33];
  const int lane = threadIdx.x % 32, turn = threadIdx.x / 32;
  const i64 column = (i64)blockIdx.x * 32 + lane, begin = (i64)blockIdx.y * piece, end = min(reduced, begin + piece);
  const i64 from = (i64)blockIdx.z * reduced * inner + column;
  WORK total = Join::identity();
  if (column < inner)
    for (i64 r = begin + turn; r < end; r += 8) total = Join::join(total, x.at(from + r * inner));
  parts[turn][lane] = total;
  __syncthreads();
  if (turn != 0 || column >= inner) return;
  for (int t = 1; t < 8; t++) total = Join::join(total, parts[t][lane]);
  write_number<WORK>(y, ((i64)blockIdx.y * gridDim.z + blockIdx.z) * inner + column, total * scale);
}
