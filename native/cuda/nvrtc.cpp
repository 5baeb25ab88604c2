// Loading NVRTC.
#include "cuda/nvrtc.h"

#include "cuda/driver.h"    // the driver's version
#include "engine/error.h"   // EngineError

namespace merak::cuda {
namespace {

constexpr int kOldest = 12000;

std::string accept(void* handle, Nvrtc& table) {
  std::string missing;
  bind(handle, "nvrtcVersion", table.nvrtcVersion, missing);
  if (!missing.empty()) return missing;
  int major = 0, minor = 0;
  if (table.nvrtcVersion(&major, &minor) != NVRTC_SUCCESS) return "it does not tell its version";
  table.version = major * 1000 + minor * 10;
  if (table.version < kOldest) return "it is of CUDA " + cuda_version_text(table.version) + ", and Merak needs " + cuda_version_text(kOldest) + " or newer";
  const int driver = find_driver().version;
  if (find_driver().library.handle && major > driver / 1000)
    return "it is of CUDA " + cuda_version_text(table.version) + ", newer than the driver's " + cuda_version_text(driver);
  MERAK_NVRTC_FUNCTIONS(MERAK_BIND)
  return missing;
}

}  // namespace

const Nvrtc& find_nvrtc() {
  static const Nvrtc found = [] {
    Nvrtc table;
    Library library = find_library({"libnvrtc", {13, 12}}, [&](void* handle) { return accept(handle, table); });
    table.library = std::move(library);
    return table;
  }();
  return found;
}

const Nvrtc& nvrtc() {
  const Nvrtc& table = find_nvrtc();
  if (table.library.handle) return table;
  const std::string looked = describe_attempts(table.library);
  throw EngineError("engine/unsupported", looked.empty() ? "CUDA needs NVRTC (libnvrtc), which is not on this machine: pip install nvidia-cuda-nvrtc"
                                                         : "CUDA needs NVRTC, and none that will do was found: " + looked);
}

void check(nvrtcResult result, const char* call) {
  if (result == NVRTC_SUCCESS) return;
  throw EngineError("engine/cuda", std::string(call) + ": " + nvrtc().nvrtcGetErrorString(result));
}

}  // namespace merak::cuda
