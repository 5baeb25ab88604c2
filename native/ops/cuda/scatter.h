// Rows put or added where ids name them, in the order of their positions.
#pragma once
#include "ops/cuda/launch.h"

namespace merak::cuda {

class DeviceScatter {
 public:
  // `assigns`: the last of a row's updates stays, else they are added to what is there.
  DeviceScatter(Device& device, DType dtype, bool assigns, int64_t num_ids, int64_t num_rows, int64_t width);
  size_t scratch_bytes() const;
  // ids less `offset` are rows; those outside are left out. `one_for_all`: updates is a single number.
  void run(const void* updates, const void* ids, void* out, void* scratch, CUstream stream, int offset = 0, bool one_for_all = false) const;

 private:
  Device* device_;
  CUfunction sort_ = nullptr, scatter_ = nullptr;
  int64_t num_ids_, width_, num_chunks_;
  int num_rows_, assigns_;
};

}  // namespace merak::cuda
