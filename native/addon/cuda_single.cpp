// Running one node on a CUDA device: the list of kernels, parity tests, measurements.
#include "addon/cuda_single.h"

#include <algorithm>  // min
#include <cmath>      // infinity
#include <memory>     // device memory

#include "addon/convert.h"           // JavaScript values
#include "cuda/device.h"             // Device
#include "ops/cuda/compile.h"        // compile_cuda_kernel
#include "ops/cuda/device/step.cuh"  // MerakStep
#include "ops/cuda/elementwise.h"    // chain_of
#include "ops/cuda/register.h"       // cuda_kernel_names
#include "ops/cuda/sources.h"        // with_includes

namespace merak {
namespace {

using namespace cuda;

// The first device, kept: its modules are.
Device& device_of_tests() {
  static Device device(0);
  device.make_current();
  return device;
}

class DeviceBytes {
 public:
  explicit DeviceBytes(size_t bytes) { check(driver().cuMemAlloc(&address_, bytes + 256), "cuMemAlloc"); }
  ~DeviceBytes() { driver().cuMemFree(address_); }
  DeviceBytes(const DeviceBytes&) = delete;
  void* data() const { return reinterpret_cast<void*>(address_); }
  void write(const void* from, size_t bytes) {
    if (bytes) check(driver().cuMemcpyHtoD(address_, from, bytes), "cuMemcpyHtoD");
  }
  void read(void* to, size_t bytes) const {
    if (bytes) check(driver().cuMemcpyDtoH(to, address_, bytes), "cuMemcpyDtoH");
  }

 private:
  CUdeviceptr address_ = 0;
};

struct Stream {
  CUstream handle = nullptr;
  Stream() { check(driver().cuStreamCreate(&handle, CU_STREAM_NON_BLOCKING), "cuStreamCreate"); }
  ~Stream() { driver().cuStreamDestroy(handle); }
};

double option(const Napi::Object& options, const char* name, double fallback) {
  return options.Get(name).IsNumber() ? options.Get(name).ToNumber().DoubleValue() : fallback;
}

// Seconds of one run, the best of `repeat`.
double measured(Kernel& kernel, const std::vector<const void*>& inputs, const std::vector<void*>& outputs, RunContext& context, int repeat) {
  CUevent begin, end;
  check(driver().cuEventCreate(&begin, CU_EVENT_DEFAULT), "cuEventCreate");
  check(driver().cuEventCreate(&end, CU_EVENT_DEFAULT), "cuEventCreate");
  float best = INFINITY;
  for (int i = 0; i < repeat; i++) {
    const auto stream = static_cast<CUstream>(context.stream);
    check(driver().cuEventRecord(begin, stream), "cuEventRecord");
    kernel.run(inputs.data(), outputs.data(), context);
    check(driver().cuEventRecord(end, stream), "cuEventRecord");
    check(driver().cuEventSynchronize(end), "cuEventSynchronize");
    float milliseconds = 0;
    check(driver().cuEventElapsedTime(&milliseconds, begin, end), "cuEventElapsedTime");
    best = std::min(best, milliseconds);
  }
  driver().cuEventDestroy(begin);
  driver().cuEventDestroy(end);
  return best / 1e3;
}

// cudaKernelNames() -> names; needs no device.
Napi::Value names(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  uint32_t count = 0;
  for (const std::string& name : cuda_kernel_names()) list.Set(count++, name);
  return list;
}

// cudaSupports(nodeSpec) -> '' or why the processor would run it; asked of a card that is not there (compute capability 9.0).
Napi::Value supports(const Napi::CallbackInfo& info) {
  static const std::unique_ptr<Device> device = Device::planned(90);
  return guarded(info.Env(), [&]() -> Napi::Value {
    try {
      compile_cuda_kernel(to_node_spec(info[0].As<Napi::Object>()), *device);
      return Napi::String::New(info.Env(), "");
    } catch (const Unsupported& reason) {
      return Napi::String::New(info.Env(), reason.what());
    }
  });
}

// cudaChainSource(nodeSpec) -> the CUDA source generated for an element-wise node; needs no device.
Napi::Value chain_source_of(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const NodeSpec spec = to_node_spec(info[0].As<Napi::Object>());
    const Chain chain = chain_of(spec).chain;
    return Napi::String::New(info.Env(), with_includes(spec.attrs.has("reduction") ? reduced_chain_source(chain) : chain_source(chain)));
  });
}

// runCudaKernel(nodeSpec, arrays, {seed, step, micro, numMicroBatches, dpIndex, repeat, outputs}?) -> arrays; as runKernel of the CPU. Also
// throws where the kernel found an index outside its range.
Napi::Value run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const NodeSpec spec = to_node_spec(info[0].As<Napi::Object>());
    const auto arrays = info[1].As<Napi::Array>();
    const auto options = info[2].IsObject() ? info[2].As<Napi::Object>() : Napi::Object::New(env);
    if (arrays.Length() != spec.inputs.size()) throw std::runtime_error("as many arrays as inputs are needed");
    Device& device = device_of_tests();
    const auto kernel = compile_cuda_kernel(spec, device);
    Stream stream;
    std::vector<std::unique_ptr<DeviceBytes>> owned;
    const auto allocate = [&](size_t bytes) -> DeviceBytes& { return *owned.emplace_back(std::make_unique<DeviceBytes>(bytes)); };
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (uint32_t i = 0; i < arrays.Length(); i++) {
      const Bytes bytes = to_bytes(arrays.Get(i));
      if (bytes.size != spec.inputs[i].bytes()) throw std::runtime_error("input " + std::to_string(i) + " has the wrong length");
      DeviceBytes& memory = allocate(bytes.size);
      memory.write(bytes.data, bytes.size);
      inputs.push_back(memory.data());
    }
    for (uint32_t i = 0; i < spec.outputs.size(); i++) {
      const size_t size = spec.outputs[i].bytes();
      DeviceBytes& memory = allocate(size);
      // NaN: an element left unwritten shows.
      const std::vector<uint8_t> poison(size, 0xff);
      memory.write(poison.data(), size);
      if (options.Get("outputs").IsArray() && i < options.Get("outputs").As<Napi::Array>().Length()) {
        const Bytes start = to_bytes(options.Get("outputs").As<Napi::Array>().Get(i));
        if (start.size != size) throw std::runtime_error("output start has the wrong length");
        memory.write(start.data, size);
      }
      outputs.push_back(memory.data());
    }
    MerakStep step{};
    step.seed = static_cast<unsigned long long>(option(options, "seed", 0));
    step.step = static_cast<unsigned>(option(options, "step", 0));
    step.micro = static_cast<int>(option(options, "micro", 0));
    DeviceBytes& device_step = allocate(sizeof step);
    device_step.write(&step, sizeof step);
    RunContext context;
    context.num_micro_batches = static_cast<int64_t>(option(options, "numMicroBatches", 1));
    context.dp_index = static_cast<int64_t>(option(options, "dpIndex", 0));
    context.stream = stream.handle;
    context.device_step = static_cast<const MerakStep*>(device_step.data());
    context.scratch = allocate(kernel->scratch_bytes()).data();
    const int repeat = static_cast<int>(option(options, "repeat", 1));
    double seconds = 0;
    if (repeat > 1) seconds = measured(*kernel, inputs, outputs, context, repeat);
    else kernel->run(inputs.data(), outputs.data(), context);
    check(driver().cuStreamSynchronize(stream.handle), "cuStreamSynchronize");
    device_step.read(&step, sizeof step);
    if (step.bad & MERAK_INDEX_OUTSIDE)
      throw std::runtime_error("index " + std::to_string(step.index) + " is not in [0, " + std::to_string(step.limit) + ")");
    Napi::Array results = Napi::Array::New(env, outputs.size());
    for (uint32_t i = 0; i < outputs.size(); i++) {
      Bytes bytes;
      Napi::TypedArray array = new_array(env, spec.outputs[i].dtype, static_cast<size_t>(spec.outputs[i].numel()), bytes);
      if (bytes.size) check(driver().cuMemcpyDtoH(bytes.data, reinterpret_cast<CUdeviceptr>(outputs[i]), bytes.size), "cuMemcpyDtoH");
      results.Set(i, array);
    }
    if (repeat > 1) results.Set(static_cast<uint32_t>(outputs.size()), seconds);
    return results;
  });
}

}  // namespace

void export_cuda_single(Napi::Env env, Napi::Object exports) {
  exports.Set("cudaKernelNames", Napi::Function::New(env, names));
  exports.Set("cudaSupports", Napi::Function::New(env, supports));
  exports.Set("cudaChainSource", Napi::Function::New(env, chain_source_of));
  exports.Set("runCudaKernel", Napi::Function::New(env, run));
}

}  // namespace merak
