// The entry point of merak.node.
#include <napi.h>  // Node-API

#include "addon/cuda_single.h"  // cudaKernelNames, runCudaKernel
#include "addon/engine_object.h"  // Engine
#include "addon/gpu.h"  // gpuLibraries, gpuDevices
#include "addon/host_communicator.h"  // HostCommunicator
#include "addon/nccl_object.h"  // NcclComm, ncclUniqueId
#include "addon/limits.h"  // matmulSeconds, copySeconds
#include "addon/single.h"  // kernelNames, supports, runKernel, info

static Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  merak::export_single(env, exports);
  merak::export_limits(env, exports);
  merak::export_gpu(env, exports);
  merak::export_cuda_single(env, exports);
  merak::EngineObject::define(env, exports);
  merak::HostCommunicator::define(env, exports);
  merak::NcclObject::define(env, exports);
  return exports;
}

NODE_API_MODULE(merak, initialise)
