// cuDNN, found for `merak doctor` alone: no kernel calls it.
#pragma once
#include "cuda/table.h"  // Library

namespace merak::cuda {

struct Cudnn {
  size_t version = 0;  // 91002 for 9.10.2
  Library library;
};

const Cudnn& find_cudnn();

}  // namespace merak::cuda
