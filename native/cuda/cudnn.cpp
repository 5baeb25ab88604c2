// Loading cuDNN.
#include "cuda/cudnn.h"

#include <cstdlib>  // getenv

#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

// The first with convolutions of bfloat16 and the math types used here.
constexpr size_t kOldest = 8200;

std::string accept(void* handle, Cudnn& table) {
  std::string missing;
  size_t (*version)() = nullptr, (*runtime)() = nullptr;
  bind(handle, "cudnnGetVersion", version, missing);
  if (!missing.empty()) return missing;
  table.version = version();
  if (table.version < kOldest)
    return "it is version " + cudnn_version_text(table.version) + ", and Merak needs " + cudnn_version_text(kOldest) + " or newer";
  bind(handle, "cudnnGetCudartVersion", runtime, missing);
  if (!missing.empty()) return missing;
  const int made_for = static_cast<int>(runtime()), driver = find_driver().version;
  if (find_driver().library.handle && made_for / 1000 > driver / 1000)
    return "it is for CUDA " + cuda_version_text(made_for) + ", newer than the driver's " + cuda_version_text(driver);
  MERAK_CUDNN_FUNCTIONS(MERAK_BIND)
  return missing;
}

}  // namespace

const Cudnn& find_cudnn() {
  static const Cudnn found = [] {
    Cudnn table;
    Library library = find_library({"libcudnn", {9, 8}}, [&](void* handle) { return accept(handle, table); });
    table.library = std::move(library);
    return table;
  }();
  return found;
}

const Cudnn* cudnn() {
  const char* setting = std::getenv("MERAK_CUDNN");
  if (setting && std::string(setting) == "off") return nullptr;
  const Cudnn& table = find_cudnn();
  return table.library.handle ? &table : nullptr;
}

std::string cudnn_version_text(size_t version) {
  // From 9 on the major version counts ten thousands.
  const size_t major = version >= 90000 ? 10000 : 1000;
  return std::to_string(version / major) + "." + std::to_string(version % major / 100) + "." + std::to_string(version % 100);
}

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw EngineError("engine/cuda", std::string(call) + ": " + find_cudnn().cudnnGetErrorString(status) +
                                       " (with MERAK_CUDNN=off convolutions run without cuDNN)");
}

}  // namespace merak::cuda
