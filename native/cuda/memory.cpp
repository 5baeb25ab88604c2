// Allocations.
#include "cuda/memory.h"

#include <algorithm>  // max
#include <cstring>    // memset

#include "engine/error.h"  // EngineError

namespace merak::cuda {

Memory device_memory(const std::shared_ptr<Device>& device, const std::string& name, size_t bytes) {
  device->make_current();
  CUdeviceptr address = 0;
  try {
    check(driver().cuMemAlloc(&address, std::max<size_t>(bytes, 256)), "cuMemAlloc");
  } catch (const EngineError& error) {
    size_t left = 0, total = 0;
    driver().cuMemGetInfo(&left, &total);
    throw EngineError(error.code, name + " needs " + std::to_string(bytes) + " bytes of " + device->name() + ", which has " + std::to_string(left) + " of " +
                                      std::to_string(total) + " left (" + error.what() + ")");
  }
  Memory memory;
  memory.data = reinterpret_cast<std::byte*>(address);
  memory.bytes = bytes;
  memory.owner = std::shared_ptr<void>(memory.data, [device](void* data) {
    device->make_current();
    driver().cuMemFree(address_of(data));
  });
  check(driver().cuMemsetD8Async(address, 0, std::max<size_t>(bytes, 256), nullptr), "cuMemsetD8Async");
  check(driver().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  return memory;
}

Memory pinned_memory(const std::shared_ptr<Device>& device, size_t bytes) {
  device->make_current();
  void* data = nullptr;
  check(driver().cuMemHostAlloc(&data, std::max<size_t>(bytes, 64), CU_MEMHOSTALLOC_PORTABLE), "cuMemHostAlloc");
  std::memset(data, 0, std::max<size_t>(bytes, 64));
  Memory memory;
  memory.data = static_cast<std::byte*>(data);
  memory.bytes = bytes;
  memory.owner = std::shared_ptr<void>(data, [device](void* pointer) {
    device->make_current();
    driver().cuMemFreeHost(pointer);
  });
  return memory;
}

}  // namespace merak::cuda
