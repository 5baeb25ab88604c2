// A CUDA device: context, functions, launches.
#include "cuda/device.h"

#include <algorithm>      // max
#include <unordered_map>  // functions

#include "cuda/modules.h"      // machine_code
#include "engine/error.h"      // EngineError
#include "ops/cuda/sources.h"  // embedded texts

namespace merak::cuda {
namespace {

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(driver().cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

// What a launch may take of shared memory without asking for it.
constexpr size_t kUnaskedShared = 48 << 10;

}  // namespace

struct Device::Modules {
  std::unordered_map<std::string, CUmodule> modules;  // by text and macros
  std::unordered_map<std::string, CUfunction> functions;
  std::unordered_map<CUfunction, size_t> shared;  // what was asked for
};

Device::Device() : modules_(std::make_unique<Modules>()) {}

std::unique_ptr<Device> Device::planned(int capability) {
  std::unique_ptr<Device> device(new Device());
  device->capability_ = capability;
  device->num_multiprocessors_ = 128;
  device->max_shared_bytes_ = capability >= 90 ? 227 << 10 : capability == 80 ? 163 << 10 : 99 << 10;
  device->name_ = "a planned card";
  return device;
}

Device::Device(int ordinal) : Device() {
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count)
    throw EngineError("engine/no-gpu", "there is no CUDA device " + std::to_string(ordinal) + ": this machine has " + std::to_string(count));
  ordinal_ = ordinal;
  check(driver().cuDeviceGet(&device_, ordinal), "cuDeviceGet");
  capability_ = 10 * attribute(device_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + attribute(device_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  if (capability_ < 80)
    throw EngineError("engine/no-gpu", "CUDA device " + std::to_string(ordinal) + " has compute capability " + std::to_string(capability_ / 10) + "." +
                                           std::to_string(capability_ % 10) + "; Merak's kernels need 8.0 (A100, RTX 30) or later");
  num_multiprocessors_ = attribute(device_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  max_shared_bytes_ = static_cast<size_t>(attribute(device_, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  char name[256] = "";
  check(driver().cuDeviceGetName(name, sizeof name, device_), "cuDeviceGetName");
  name_ = name;
  check(driver().cuDeviceTotalMem(&total_bytes_, device_), "cuDeviceTotalMem");
  check(driver().cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
  make_current();
}

Device::~Device() {
  if (!is_there()) return;
  driver().cuCtxSetCurrent(context_);
  if (lt_) cublaslt().cublasLtDestroy(lt_);
  if (cudnn_) find_cudnn().cudnnDestroy(cudnn_);
  for (const auto& [key, module] : modules_->modules) driver().cuModuleUnload(module);
  driver().cuDevicePrimaryCtxRelease(device_);
}

void Device::make_current() const {
  if (is_there()) check(driver().cuCtxSetCurrent(context_), "cuCtxSetCurrent");
}

CUfunction Device::function(const std::string& source, const std::string& entry, const std::vector<std::string>& defines) {
  return find(source_of(source), source, entry, defines);
}

CUfunction Device::function_of_text(const std::string& text, const std::string& entry, const std::vector<std::string>& defines) {
  return find(with_includes(text), "made", entry, defines);
}

CUfunction Device::find(const std::string& text, const std::string& name, const std::string& entry, const std::vector<std::string>& defines) {
  if (!is_there()) return nullptr;
  std::string key = text;
  for (const std::string& define : defines) key += "\n" + define;
  const std::string function_key = entry + "\n" + key;
  if (const auto found = modules_->functions.find(function_key); found != modules_->functions.end()) return found->second;
  make_current();
  CUmodule& module = modules_->modules[key];
  if (!module) {
    const std::vector<char> code = machine_code(text, name, capability_, defines);
    check(driver().cuModuleLoadData(&module, code.data()), "cuModuleLoadData");
  }
  CUfunction function = nullptr;
  const CUresult result = driver().cuModuleGetFunction(&function, module, entry.c_str());
  if (result != CUDA_SUCCESS) throw EngineError("engine/cuda", name + ".cu has no kernel " + entry);
  return modules_->functions[function_key] = function;
}

void Device::launch(CUfunction function, Dim3 grid, Dim3 block, size_t shared_bytes, CUstream stream, std::initializer_list<const void*> arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kUnaskedShared) {
    size_t& asked = modules_->shared[function];
    if (asked < shared_bytes)
      check(driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared_bytes)), "cuFuncSetAttribute");
    asked = std::max(asked, shared_bytes);
  }
  make_current();
  void* addresses[64];
  size_t count = 0;
  for (const void* argument : arguments) {
    if (count == std::size(addresses)) throw EngineError("engine/cuda", "a kernel has more arguments than a launch takes");
    addresses[count++] = const_cast<void*>(argument);
  }
  check(driver().cuLaunchKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z, static_cast<unsigned>(shared_bytes), stream, addresses, nullptr),
        "cuLaunchKernel");
}

cublasLtHandle_t Device::lt() {
  if (!lt_ && is_there()) {
    make_current();
    check(cublaslt().cublasLtCreate(&lt_), "cublasLtCreate");
  }
  return lt_;
}

cudnnHandle_t Device::cudnn() {
  if (!cudnn_ && is_there()) {
    make_current();
    // cuDNN's parts look for it by its name alone: loaded, it is found wherever it lies.
    find_cublaslt();
    check(find_cudnn().cudnnCreate(&cudnn_), "cudnnCreate");
  }
  return cudnn_;
}

}  // namespace merak::cuda
