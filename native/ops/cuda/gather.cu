// Rows by index: those of GatherV2, and the flat rows that the rows of an index matrix name. ELEMENT: an element, whatever its bytes mean.
#include "device/numbers.cuh"
#include "device/step.cuh"

// x [batch, outer, dim, width], ids [batch, count] -> [batch, outer, count, width]; a thread an element.
extern "C" __global__ void gather(const ELEMENT* __restrict__ x, const int* __restrict__ ids, ELEMENT* __restrict__ out, i64 outer, int dim, i64 count, i64 width, i64 total,
                                  MerakStep* step) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  const i64 place = i / width, row = place / count;
  const int id = ids[row / outer * count + place % count];
  const bool is_there = id >= 0 && id < dim;
  if (!is_there) note_outside(step, id, dim);
  out[i] = is_there ? x[(row * dim + id) * width + i % width] : ELEMENT{};
}

struct Dims {
  int rank, sizes[8];
};

// indices [rows, rank] -> flat row numbers, -1 where one is outside.
extern "C" __global__ void flatten_indices(const int* __restrict__ indices, int* __restrict__ flat, Dims dims, i64 rows, MerakStep* step) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  int row = 0;
  for (int d = 0; d < dims.rank; d++) {
    const int index = indices[i * dims.rank + d];
    if (index < 0 || index >= dims.sizes[d]) {
      note_outside(step, index, dims.sizes[d]);
      row = -1;
      break;
    }
    row = row * dims.sizes[d] + index;
  }
  flat[i] = row;
}
