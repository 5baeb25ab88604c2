// Loading libcuda and saying what is wrong with it.
#include "cuda/driver.h"

#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

std::string accept(void* handle, Driver& table) {
  std::string missing;
  bind(handle, "cuDriverGetVersion", table.cuDriverGetVersion, missing);
  if (!missing.empty()) return missing;
  if (table.cuDriverGetVersion(&table.version) != CUDA_SUCCESS) return "it does not tell its version";
  if (table.version < kOldestDriver)
    return "it is of CUDA " + cuda_version_text(table.version) + ", and Merak needs " + cuda_version_text(kOldestDriver) + " or newer";
  MERAK_DRIVER_FUNCTIONS(MERAK_BIND)
  return missing;
}

[[noreturn]] void no_gpu(const std::string& message) { throw EngineError("engine/no-gpu", message); }

}  // namespace

const Driver& find_driver() {
  static const Driver found = [] {
    Driver table;
    Library library = find_library({"libcuda", {1}, true}, [&](void* handle) { return accept(handle, table); });
    table.library = std::move(library);
    return table;
  }();
  return found;
}

const Driver& driver() {
  const Driver& table = find_driver();
  if (!table.library.handle) {
    const std::string looked = describe_attempts(table.library);
    no_gpu(looked.empty() ? "no NVIDIA driver (libcuda.so.1) is on this machine" : "no NVIDIA driver that will do: " + looked);
  }
  static const CUresult initialised = table.cuInit(0);
  if (initialised == CUDA_ERROR_NO_DEVICE) no_gpu("the NVIDIA driver sees no GPU (CUDA_VISIBLE_DEVICES may hide them)");
  if (initialised != CUDA_SUCCESS) {
    const char* text = nullptr;
    table.cuGetErrorString(initialised, &text);
    no_gpu(table.library.path + ": cuInit: " + (text ? text : "error " + std::to_string(initialised)));
  }
  return table;
}

int num_devices() {
  try {
    int count = 0;
    return driver().cuDeviceGetCount(&count) == CUDA_SUCCESS ? count : 0;
  } catch (const EngineError&) {
    return 0;
  }
}

void check(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return;
  const Driver& table = find_driver();
  const char *name = nullptr, *text = nullptr;
  if (table.cuGetErrorName) table.cuGetErrorName(result, &name);
  if (table.cuGetErrorString) table.cuGetErrorString(result, &text);
  const std::string message = std::string(call) + ": " + (name ? name : "error " + std::to_string(result)) + (text ? std::string(", ") + text : "");
  throw EngineError(result == CUDA_ERROR_OUT_OF_MEMORY ? "plan/out-of-memory" : "engine/cuda", message);
}

}  // namespace merak::cuda
