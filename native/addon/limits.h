// What this machine can do at best, for benchmarks to compare with: oneDNN's matmul, copies between buffers.
#pragma once
#include <napi.h>  // Node-API

namespace merak {

void export_limits(Napi::Env env, Napi::Object exports);  // matmulSeconds, copySeconds

}  // namespace merak
