// Tensors made out of attributes or small inputs. Y: the result's number type; LEFT, RIGHT: those of numbers read.
#include "device/elementwise.cuh"

// A thread an element of [indices, depth].
extern "C" __global__ void one_hot(const int* __restrict__ indices, Y* __restrict__ y, i64 depth, double on, double off, i64 total) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < total) write_number<double>(y, i, indices[i / depth] == i % depth ? on : off);
}

// One thread: each number is the one before plus the step, rounded as it is stored.
extern "C" __global__ void progression(Y* __restrict__ y, double start, double step, i64 count) {
  Y number;
  write_number<double>(&number, 0, start);
  for (i64 i = 0; i < count; i++) {
    y[i] = number;
    write_number<double>(&number, 0, read_number<double>(&number, 0) + step);
  }
}

// The square matrix with x on its diagonal.
extern "C" __global__ void diagonal(const Y* __restrict__ x, Y* __restrict__ y, i64 n, i64 total) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < total) y[i] = i / n == i % n ? x[i % n] : Y(0);
}

// Zeros below `lower` subdiagonals and above `upper` superdiagonals; negative: all are kept.
extern "C" __global__ void band_part(const Y* __restrict__ x, const LEFT* __restrict__ lower, const RIGHT* __restrict__ upper, Y* __restrict__ y, i64 rows, i64 columns, i64 total) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const double below = read_number<double>(lower, 0), above = read_number<double>(upper, 0);
  const i64 column = i % columns, row = i / columns % rows;
  const bool is_kept = (below < 0 || row - column <= (i64)below) && (above < 0 || column - row <= (i64)above);
  y[i] = is_kept ? x[i] : Y(0);
}

// The place of each value among sorted numbers [batch, length], values [batch, count]; halving as tfjs does it.
extern "C" __global__ void search_sorted(const LEFT* __restrict__ sorted, const RIGHT* __restrict__ values, int* __restrict__ places, i64 length, i64 count, int after_equals, i64 total) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const double value = read_number<double>(values, i);
  const LEFT* row = sorted + i / count * length;
  i64 low = 0, high = length;
  while (low < high) {
    const i64 middle = (low + high) / 2;
    const double at = read_number<double>(row, middle);
    if (after_equals ? at <= value : at < value) low = middle + 1;
    else high = middle;
  }
  places[i] = (int)high;
}
