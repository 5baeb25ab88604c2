// What is there of NVIDIA's: libraries, devices.
#pragma once
#include <napi.h>  // Node-API

namespace merak {

void export_gpu(Napi::Env env, Napi::Object exports);  // gpuLibraries, gpuDevices

}  // namespace merak
