// NVIDIA's libraries and devices as JavaScript objects.
#include "addon/gpu.h"

#include "addon/convert.h"   // guarded
#include "comm/gpu/nccl_ctas.h"  // how large communicators may be
#include "cuda/cublaslt.h"   // find_cublaslt
#include "cuda/cudnn.h"      // find_cudnn
#include "cuda/driver.h"     // find_driver
#include "cuda/nccl.h"       // find_nccl
#include "cuda/nvrtc.h"      // find_nvrtc

namespace merak {
namespace {

using namespace cuda;

Napi::Object to_object(Napi::Env env, const char* name, const Library& library, const std::string& version) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", name);
  object.Set("path", library.path);
  object.Set("version", library.handle ? version : std::string());
  Napi::Array rejected = Napi::Array::New(env);
  for (const Attempt& attempt : library.attempts) {
    if (attempt.problem.empty()) continue;
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("path", attempt.path);
    entry.Set("problem", attempt.problem);
    rejected.Set(rejected.Length(), entry);
  }
  object.Set("rejected", rejected);
  object.Set("lacks", Napi::Array::New(env));
  object.Set("caution", std::string());
  return object;
}

std::string dotted(size_t version, size_t major, size_t minor) {
  return std::to_string(version / major) + "." + std::to_string(version % major / minor) + "." + std::to_string(version % minor);
}

// gpuLibraries() -> [{name, path, version, rejected: [{path, problem}], lacks: [symbol], caution}]
Napi::Value libraries(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Array list = Napi::Array::New(env);
    const auto add = [&](const Napi::Object& object) { list.Set(list.Length(), object); };
    add(to_object(env, "driver", find_driver().library, cuda_version_text(find_driver().version)));
    add(to_object(env, "NVRTC", find_nvrtc().library, cuda_version_text(find_nvrtc().version)));
    add(to_object(env, "cuBLASLt", find_cublaslt().library, dotted(static_cast<size_t>(find_cublaslt().version), 10000, 100)));
    const Nccl& nccl = find_nccl();
    Napi::Object entry = to_object(env, "NCCL", nccl.library, nccl_version_text(nccl.version));
    if (nccl.library.handle) {
      Napi::Array lacks = entry.Get("lacks").As<Napi::Array>();
#define MERAK_LACKS(result, name, exported, ...) \
  if (!nccl.name) lacks.Set(lacks.Length(), exported);
      MERAK_NCCL_NEWER_FUNCTIONS(MERAK_LACKS)
#undef MERAK_LACKS
      if (const std::string problem = nccl_graph_problem(nccl.version); !problem.empty())
        entry.Set("caution", "in CUDA graphs it " + problem + ", so steps with its calls are none");
    }
    add(entry);
    add(to_object(env, "cuDNN", find_cudnn().library, cudnn_version_text(find_cudnn().version)));
    return list;
  });
}

// gpuDevices() -> [{name, capability, totalBytes}]; throws engine/no-gpu.
Napi::Value devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Driver& driver = cuda::driver();
    int count = 0;
    check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
    Napi::Array list = Napi::Array::New(env);
    for (int ordinal = 0; ordinal < count; ordinal++) {
      CUdevice device;
      check(driver.cuDeviceGet(&device, ordinal), "cuDeviceGet");
      char name[256] = {};
      check(driver.cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName");
      int major = 0, minor = 0;
      check(driver.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device), "cuDeviceGetAttribute");
      check(driver.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device), "cuDeviceGetAttribute");
      size_t bytes = 0;
      check(driver.cuDeviceTotalMem(&bytes, device), "cuDeviceTotalMem");
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", std::string(name));
      entry.Set("capability", std::to_string(major) + "." + std::to_string(minor));
      entry.Set("totalBytes", static_cast<double>(bytes));
      list.Set(list.Length(), entry);
    }
    return list;
  });
}

// ncclCtas() -> {group, world, message}
Napi::Value nccl_ctas(const Napi::CallbackInfo& info) {
  Napi::Object ctas = Napi::Object::New(info.Env());
  ctas.Set("group", kGroupCtas);
  ctas.Set("world", kWorldCtas);
  ctas.Set("message", kMessageCtas);
  return ctas;
}

// gpuFreeBytes(ordinal)
Napi::Value free_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Driver& driver = cuda::driver();
    CUdevice device;
    check(driver.cuDeviceGet(&device, info[0].ToNumber().Int32Value()), "cuDeviceGet");
    CUcontext before = nullptr, context = nullptr;
    check(driver.cuCtxGetCurrent(&before), "cuCtxGetCurrent");
    check(driver.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    check(driver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    size_t free = 0, total = 0;
    const CUresult result = driver.cuMemGetInfo(&free, &total);
    driver.cuCtxSetCurrent(before);
    driver.cuDevicePrimaryCtxRelease(device);
    check(result, "cuMemGetInfo");
    return Napi::Number::New(info.Env(), static_cast<double>(free));
  });
}

}  // namespace

void export_gpu(Napi::Env env, Napi::Object exports) {
  exports.Set("gpuLibraries", Napi::Function::New(env, libraries, "gpuLibraries"));
  exports.Set("ncclCtas", Napi::Function::New(env, nccl_ctas, "ncclCtas"));
  exports.Set("gpuFreeBytes", Napi::Function::New(env, free_bytes, "gpuFreeBytes"));
  exports.Set("gpuDevices", Napi::Function::New(env, devices, "gpuDevices"));
}

}  // namespace merak
