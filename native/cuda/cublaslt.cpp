// Loading cuBLASLt.
#include "cuda/cublaslt.h"

#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

constexpr int kOldest = 120000;

std::string accept(void* handle, CublasLt& table) {
  std::string missing;
  bind(handle, "cublasLtGetVersion", table.cublasLtGetVersion, missing);
  if (!missing.empty()) return missing;
  table.version = static_cast<int>(table.cublasLtGetVersion());
  const std::string version = std::to_string(table.version / 10000) + "." + std::to_string(table.version / 100 % 100);
  if (table.version < kOldest) return "it is version " + version + ", and Merak needs 12.0 or newer";
  const int driver = find_driver().version;
  if (find_driver().library.handle && table.version / 10000 > driver / 1000)
    return "it is version " + version + ", newer than the driver's CUDA " + cuda_version_text(driver);
  MERAK_CUBLASLT_FUNCTIONS(MERAK_BIND)
  return missing;
}

}  // namespace

const CublasLt& find_cublaslt() {
  static const CublasLt found = [] {
    CublasLt table;
    Library library = find_library({"libcublasLt", {13, 12}}, [&](void* handle) { return accept(handle, table); });
    table.library = std::move(library);
    return table;
  }();
  return found;
}

const CublasLt& cublaslt() {
  const CublasLt& table = find_cublaslt();
  if (table.library.handle) return table;
  const std::string looked = describe_attempts(table.library);
  throw EngineError("engine/unsupported", looked.empty() ? "CUDA needs cuBLASLt (libcublasLt), which is not on this machine: pip install nvidia-cublas"
                                                         : "CUDA needs cuBLASLt, and none that will do was found: " + looked);
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw EngineError("engine/cuda", std::string(call) + ": " + cublaslt().cublasLtGetStatusString(status));
}

}  // namespace merak::cuda
