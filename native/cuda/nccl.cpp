// Loading NCCL, and which versions of it not to use.
#include "cuda/nccl.h"

#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

constexpr int kOldest = 21700;

std::string accept(void* handle, Nccl& table) {
  std::string missing;
  bind(handle, "ncclGetVersion", table.ncclGetVersion, missing);
  if (!missing.empty()) return missing;
  if (table.ncclGetVersion(&table.version) != ncclSuccess) return "it does not tell its version";
  if (table.version < kOldest) return "it is version " + nccl_version_text(table.version) + ", and Merak needs " + nccl_version_text(kOldest) + " or newer";
  if (std::string problem = known_bad_nccl(table.version); !problem.empty()) return "it is version " + nccl_version_text(table.version) + ", which " + problem;
  MERAK_NCCL_FUNCTIONS(MERAK_BIND)
  MERAK_NCCL_NEWER_FUNCTIONS(MERAK_BIND_OPTIONAL)
  return missing;
}

}  // namespace

std::string nccl_version_text(int version) {
  // Up to 2.8 the major version counted thousands.
  const int unit = version < 10000 ? 1000 : 10000;
  return std::to_string(version / unit) + "." + std::to_string(version % unit / 100) + "." + std::to_string(version % 100);
}

std::string known_bad_nccl(int version) {
  if (version >= 22803 && version <= 22808) return "can deadlock in its proxy thread (fixed in 2.28.9: NVIDIA/nccl dbc86fd)";
#if defined(__aarch64__)
  if (version >= 22809 && version <= 22902) return "can deadlock on aarch64 once its proxy operations run out (fixed in 2.29.3: NVIDIA/nccl#2353)";
#endif
  return "";
}

std::string nccl_graph_problem(int version) {
  if (version < 22203) return "stalls once its queue of work, which leaks with graphs, is full (NVIDIA/nccl#1251; 2.22.3 does not)";
  return "";
}

const Nccl& find_nccl() {
  static const Nccl found = [] {
    Nccl table;
    Library library = find_library({"libnccl", {2}}, [&](void* handle) { return accept(handle, table); });
    table.library = std::move(library);
    return table;
  }();
  return found;
}

const Nccl& nccl() {
  const Nccl& table = find_nccl();
  if (table.library.handle) return table;
  const std::string looked = describe_attempts(table.library);
  throw EngineError("engine/unsupported", looked.empty() ? "NCCL (libnccl.so.2) is not on this machine: pip install nvidia-nccl-cu13"
                                                         : "no NCCL that will do was found: " + looked);
}

void check(ncclResult_t result, const char* call, ncclComm_t comm) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* detail = nccl().ncclGetLastError(comm);
  throw EngineError("engine/cuda", std::string(call) + ": " + nccl().ncclGetErrorString(result) + (detail && *detail ? std::string(": ") + detail : ""));
}

}  // namespace merak::cuda
