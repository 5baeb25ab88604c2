// The functions of launch.h.
#include "ops/cuda/launch.h"

namespace merak::cuda {

void allow_shared(CUfunction function, size_t bytes) {
  if (bytes <= 48 << 10) return;
  check(driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(bytes)), "cuFuncSetAttribute");
}

void set_zero(void* to, size_t bytes, CUstream stream) {
  if (bytes) check(driver().cuMemsetD8Async(address(to), 0, bytes, stream), "cuMemsetD8Async");
}

void copy_bytes(const void* from, void* to, size_t bytes, CUstream stream) {
  if (bytes && from != to) check(driver().cuMemcpyDtoDAsync(address(to), address(from), bytes, stream), "cuMemcpyDtoDAsync");
}

}  // namespace merak::cuda
