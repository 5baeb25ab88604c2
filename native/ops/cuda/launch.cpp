// The functions of launch.h.
#include "ops/cuda/launch.h"

namespace merak::cuda {

void set_zero(void* to, size_t bytes, CUstream stream) {
  if (bytes) check(driver().cuMemsetD8Async(address(to), 0, bytes, stream), "cuMemsetD8Async");
}

void copy_bytes(const void* from, void* to, size_t bytes, CUstream stream) {
  if (bytes && from != to) check(driver().cuMemcpyDtoDAsync(address(to), address(from), bytes, stream), "cuMemcpyDtoDAsync");
}

}  // namespace merak::cuda
