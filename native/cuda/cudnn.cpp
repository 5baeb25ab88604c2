// Finding cuDNN.
#include "cuda/cudnn.h"

namespace merak::cuda {

const Cudnn& find_cudnn() {
  static const Cudnn found = [] {
    Cudnn cudnn;
    Library library = find_library({"libcudnn", {9}}, [&](void* handle) {
      size_t (*version)() = nullptr;
      std::string missing;
      bind(handle, "cudnnGetVersion", version, missing);
      if (missing.empty()) cudnn.version = version();
      return missing;
    });
    cudnn.library = std::move(library);
    return cudnn;
  }();
  return found;
}

}  // namespace merak::cuda
