// The functions of scatter.h.
#include "ops/cuda/scatter.h"

#include <algorithm>  // clamp
#include <limits>     // int

#include "ops/cuda/device/chunk.cuh"

namespace merak::cuda {

DeviceScatter::DeviceScatter(Device& device, DType dtype, bool assigns, int64_t num_ids, int64_t num_rows, int64_t width)
    : device_(&device), num_ids_(num_ids), width_(width), num_chunks_((num_ids + kChunk - 1) / kChunk), num_rows_(static_cast<int>(num_rows)), assigns_(assigns) {
  require(num_rows < std::numeric_limits<int>::max() && num_chunks_ * kChunk < std::numeric_limits<int>::max(), "too many rows");
  require(dtype == DType::f32 || dtype == DType::i32 || dtype == DType::b8, "only float32, int32 and bool rows");
  const std::vector<std::string> macros = {define("ELEMENT", dtype)};
  sort_ = device.function("scatter", "sort_ids", macros);
  scatter_ = device.function("scatter", "scatter_rows", macros);
}

size_t DeviceScatter::scratch_bytes() const { return static_cast<size_t>(num_chunks_ * kChunk) * sizeof(uint64_t); }

void DeviceScatter::run(const void* updates, const void* ids, void* out, void* scratch, CUstream stream, int offset, bool one_for_all) const {
  if (width_ == 0 || num_rows_ == 0) return;
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>((width_ + 31) / 32 * 32, 32, 256));
  const int chunks = static_cast<int>(num_chunks_);
  const int64_t stride = one_for_all ? 0 : width_, step = one_for_all ? 0 : 1;
  device_->launch(sort_, {static_cast<unsigned>(chunks)}, {256}, 0, stream, {&ids, &scratch, &num_ids_, &num_rows_, &offset});
  device_->launch(scatter_, {static_cast<unsigned>(num_chunks_ * kChunk)}, {threads}, 0, stream, {&updates, &scratch, &out, &chunks, &width_, &stride, &step, &assigns_});
}

}  // namespace merak::cuda
