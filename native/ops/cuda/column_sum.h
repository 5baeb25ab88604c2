// Sums over the rows of a matrix, for other kernels too.
#pragma once
#include "ops/cuda/launch.h"

namespace merak::cuda {

class ColumnSum {
 public:
  ColumnSum(Device& device, DType dtype, int64_t num_rows, int64_t width);
  size_t scratch_bytes() const { return num_pieces_ > 1 ? static_cast<size_t>(num_pieces_ * width_) * sizeof(float) : 0; }
  // sums = the columns' sums, or += with `accumulate`; the order of additions depends on the shape alone.
  void run(const void* x, float* sums, bool accumulate, void* scratch, CUstream stream) const;

 private:
  Device* device_;
  CUfunction rows_, parts_;
  int64_t num_rows_, width_, vector_, piece_, num_pieces_;
};

}  // namespace merak::cuda
