// A strided copy on CUDA.
#pragma once
#include <memory>  // the table

#include "ops/cpu/layout_plan.h"  // LayoutCopy
#include "ops/cuda/launch.h"

namespace merak::cuda {

class DeviceCopy {
 public:
  DeviceCopy(Device& device, const LayoutCopy& copy);
  void run(const void* source, void* target, CUstream stream) const;

 private:
  struct Table;
  Device* device_;
  std::shared_ptr<Table> table_;
  CUfunction function_ = nullptr;
  int64_t count_ = 0, from_bytes_ = 0, to_bytes_ = 0;
  size_t flat_bytes_ = 0;          // of one run of bytes on both sides
  int rows_ = 0, columns_ = 0;     // of a transposed matrix
  unsigned batches_ = 0;
};

}  // namespace merak::cuda
