// Memory of a card, and pinned memory of the host, freed by its last owner.
#pragma once
#include "cuda/device.h"     // Device
#include "engine/backend.h"  // Memory

namespace merak::cuda {

inline CUdeviceptr address_of(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

// Zeroed. Throws EngineError 'plan/out-of-memory' naming what it was for.
Memory device_memory(const std::shared_ptr<Device>& device, const std::string& name, size_t bytes);
// Copies to and from it need no waiting.
Memory pinned_memory(const std::shared_ptr<Device>& device, size_t bytes);

}  // namespace merak::cuda
