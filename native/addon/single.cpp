// Functions without an engine: the list of kernels, running one node (parity tests, benchmarks), facts about the build.
#include "addon/single.h"

#include <dnnl.hpp>  // version
#include <omp.h>     // threads

#include <thread>  // workspace

#include "addon/convert.h"          // JavaScript values
#include "addon/plan.h"             // to_executable_of
#include "cuda/backend.h"           // make_kernel_on
#include "cuda/feed.h"              // feed_bytes
#include "cuda/rounded_weights.h"   // RoundedWeights
#include "engine/aligned.h"         // buffers
#include "engine/compile.h"         // workspace_of
#include "engine/registry.h"        // compile_kernel
#include "ops/cpu/isa/dispatch.h"   // isa_name

namespace merak {
namespace {

Napi::Value names(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  uint32_t count = 0;
  for (const std::string& name : kernel_names()) list.Set(count++, name);
  return list;
}

// supports(nodeSpec) -> '' or why not
Napi::Value supports(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    try {
      compile_kernel(to_node_spec(info[0].As<Napi::Object>()));
      return Napi::String::New(info.Env(), "");
    } catch (const std::exception& error) {
      return Napi::String::New(info.Env(), error.what());
    }
  });
}

RunContext to_context(const Napi::Value& value) {
  RunContext context;
  if (!value.IsObject()) return context;
  const auto object = value.As<Napi::Object>();
  const auto number = [&](const char* name, double fallback) {
    return object.Get(name).IsNumber() ? number_field(object, name) : fallback;
  };
  context.seed = static_cast<uint64_t>(number("seed", 0));
  context.step = static_cast<uint32_t>(number("step", 0));
  context.micro = static_cast<int64_t>(number("micro", 0));
  context.num_micro_batches = static_cast<int64_t>(number("numMicroBatches", 1));
  context.dp_index = static_cast<int64_t>(number("dpIndex", 0));
  return context;
}

// runKernel(nodeSpec, arrays, {seed, step, micro, numMicroBatches, dpIndex, repeat, outputs}?) -> arrays.
// `repeat` > 1 runs it so often and returns [...arrays, seconds of the fastest run]; `outputs` are arrays with which the outputs
// start (for accumulating kernels).
Napi::Value run_kernel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const NodeSpec spec = to_node_spec(info[0].As<Napi::Object>());
    const auto arrays = info[1].As<Napi::Array>();
    if (arrays.Length() != spec.inputs.size()) throw std::runtime_error("as many arrays as inputs are needed");
    const auto kernel = compile_kernel(spec);
    RunContext context = to_context(info[2]);
    std::vector<AlignedBytes> owned;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (uint32_t i = 0; i < arrays.Length(); i++) {
      const Bytes bytes = to_bytes(arrays.Get(i));
      if (bytes.size != spec.inputs[i].bytes()) throw std::runtime_error("input " + std::to_string(i) + " has the wrong length");
      owned.push_back(aligned_bytes(bytes.size));
      if (bytes.size) std::memcpy(owned.back().get(), bytes.data, bytes.size);
      inputs.push_back(owned.back().get());
    }
    for (const TensorType& type : spec.outputs) {
      owned.push_back(aligned_bytes(type.bytes()));
      std::memset(owned.back().get(), 0xff, type.bytes());  // NaN: an element left unwritten shows
      outputs.push_back(owned.back().get());
    }
    int repeat = 1;
    if (info[2].IsObject()) {
      const auto options = info[2].As<Napi::Object>();
      if (options.Get("repeat").IsNumber()) repeat = options.Get("repeat").ToNumber().Int32Value();
      if (options.Get("outputs").IsArray()) {
        const auto starts = options.Get("outputs").As<Napi::Array>();
        for (uint32_t i = 0; i < starts.Length() && i < outputs.size(); i++) {
          const Bytes bytes = to_bytes(starts.Get(i));
          if (bytes.size != spec.outputs[i].bytes()) throw std::runtime_error("output start has the wrong length");
          std::memcpy(outputs[i], bytes.data, bytes.size);
        }
      }
    }
    const AlignedBytes scratch = aligned_bytes(kernel->scratch_bytes());
    context.scratch = scratch.get();
    double best = 1e30;
    for (int i = 0; i < repeat; i++) {
      const double start = omp_get_wtime();
      kernel->run(inputs.data(), outputs.data(), context);
      best = std::min(best, omp_get_wtime() - start);
    }
    Napi::Array results = Napi::Array::New(env, outputs.size());
    for (uint32_t i = 0; i < outputs.size(); i++) {
      Bytes bytes;
      Napi::TypedArray array = new_array(env, spec.outputs[i].dtype, static_cast<size_t>(spec.outputs[i].numel()), bytes);
      if (bytes.size) std::memcpy(bytes.data, outputs[i], bytes.size);
      results.Set(i, array);
    }
    if (repeat > 1) results.Set(static_cast<uint32_t>(outputs.size()), best);
    return results;
  });
}

// workspace(executable, {persistentSpaces}, threads, capability?) -> {scratchBytes, keptBytes, roundedWeights: [{offset, bytes}]}; of a card with a
// capability (80, 90), which need not be there, else of the processor.
Napi::Value workspace(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Executable executable = to_executable_of(info[0].As<Napi::Object>(), info[1].As<Napi::Object>());
    const int threads = std::max(1, info[2].ToNumber().Int32Value());
    std::unique_ptr<cuda::Device> card;
    if (info[3].IsNumber()) card = cuda::Device::planned(info[3].ToNumber().Int32Value());
    const std::shared_ptr<cuda::RoundedWeights> rounded = card ? cuda::RoundedWeights::make(nullptr) : nullptr;
    const KernelMaker make = [&](NodeSpec spec) {
      spec.rounded = rounded;
      return card ? cuda::make_kernel_on(spec, *card, [](const std::string&) {}) : compile_kernel(spec);
    };
    Workspace result;
    std::exception_ptr thrown;
    // A thread of its own has a number of OpenMP threads of its own, as an engine's has.
    std::thread([&] {
      omp_set_num_threads(threads);
      try {
        result = workspace_of(executable, make);
      } catch (...) {
        thrown = std::current_exception();
      }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("scratchBytes", static_cast<double>(result.scratch_bytes));
    object.Set("keptBytes", static_cast<double>(result.kept_bytes + (card ? cuda::feed_bytes(executable) : 0)));
    Napi::Array weights = Napi::Array::New(info.Env());
    for (const auto& [offset, bytes] : rounded ? rounded->bytes() : std::map<int64_t, size_t>()) {
      Napi::Object weight = Napi::Object::New(info.Env());
      weight.Set("offset", static_cast<double>(offset));
      weight.Set("bytes", static_cast<double>(bytes));
      weights.Set(weights.Length(), weight);
    }
    object.Set("roundedWeights", weights);
    return object;
  });
}

// {dnnlVersion, isa, maxThreads}
Napi::Value build_info(const Napi::CallbackInfo& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  const dnnl_version_t* version = dnnl_version();
  result.Set("dnnlVersion", std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
                                std::to_string(version->patch));
  result.Set("isa", isa_name(isa()));
  result.Set("maxThreads", omp_get_max_threads());
  return result;
}

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  omp_set_num_threads(std::max(1, info[0].ToNumber().Int32Value()));
  return info.Env().Undefined();
}

}  // namespace

void export_single(Napi::Env env, Napi::Object exports) {
  exports.Set("kernelNames", Napi::Function::New(env, names));
  exports.Set("supports", Napi::Function::New(env, supports));
  exports.Set("runKernel", Napi::Function::New(env, run_kernel));
  exports.Set("workspace", Napi::Function::New(env, workspace));
  exports.Set("info", Napi::Function::New(env, build_info));
  exports.Set("setThreads", Napi::Function::New(env, set_threads));
}

}  // namespace merak
