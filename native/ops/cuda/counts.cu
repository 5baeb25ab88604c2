// Bincount and DenseBincount: how often each of 0 .. size - 1 occurs in a row, or the sum of its weights. Y: the result's number type.
#include "device/numbers.cuh"
#include "device/step.cuh"

constexpr int kStaged = 1024;

// A thread a bin, 256 of one row to a block; all look at the row's numbers in turn, so that sums have the order of the positions.
extern "C" __global__ void count_bins(const int* __restrict__ x, const Y* __restrict__ weights, Y* __restrict__ y, i64 length, int size, int blocks_a_row,
                                       int has_weights, int binary, MerakStep* step) {
  __shared__ int staged[kStaged];
  const i64 row = blockIdx.x / blocks_a_row;
  const int bin = blockIdx.x % blocks_a_row * 256 + threadIdx.x;
  const int* from = x + row * length;
  Y sum = Y(0);
  bool occurs = false;
  for (i64 first = 0; first < length; first += kStaged) {
    const int there = (int)min((i64)kStaged, length - first);
    __syncthreads();
    for (int i = threadIdx.x; i < there; i += 256) {
      staged[i] = from[first + i];
      if (staged[i] < 0) note_outside(step, staged[i], size);
    }
    __syncthreads();
    for (int i = 0; i < there; i++)
      if (staged[i] == bin) {
        sum += has_weights ? weights[row * length + first + i] : Y(1);
        occurs = true;
      }
  }
  // Only the last block's bins may be past the end.
  if (bin < size) y[row * size + bin] = binary ? Y(occurs) : sum;
}
