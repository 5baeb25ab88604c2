// One node on a CUDA device, for tests and benchmarks.
#pragma once
#include <napi.h>  // Node-API

namespace merak {

void export_cuda_single(Napi::Env env, Napi::Object exports);

}  // namespace merak
