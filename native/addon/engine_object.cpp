// The JavaScript class Engine: arguments in, jobs to the step thread, results out.
#include "addon/engine_object.h"

#include <unistd.h>  // getpid

#include "addon/convert.h"  // JavaScript values
#include "addon/plan.h"     // to_rank_plan
#include "engine/error.h"   // EngineError

namespace merak {
namespace {

struct Failure {
  std::string code, message;
};

Napi::Object to_handle(Napi::Env env, const ArenaHandle& handle) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("arena", handle.arena);
  object.Set("pid", static_cast<double>(getpid()));
  object.Set("fd", handle.fd);
  object.Set("bytes", static_cast<double>(handle.bytes));
  return object;
}

Napi::Value copied(Napi::Env env, DType dtype, const void* data, size_t bytes) {
  Bytes target;
  const Napi::TypedArray array = new_array(env, dtype, bytes / size_of(dtype), target);
  if (bytes) std::memcpy(target.data, data, bytes);
  return array;
}

// What names a step's results, apart from the engine, which may be closed by the time they are read.
struct ResultNames {
  std::vector<std::string> metrics;
  std::vector<OutputPlan> outputs;
};

Napi::Value to_result(Napi::Env env, const StepResult& result, const ResultNames& plan) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Object metrics = Napi::Object::New(env);
  for (size_t i = 0; i < plan.metrics.size(); i++) metrics.Set(plan.metrics[i], result.metrics[i]);
  Napi::Object outputs = Napi::Object::New(env);
  for (size_t i = 0; i < plan.outputs.size(); i++)
    outputs.Set(plan.outputs[i].name, copied(env, plan.outputs[i].type.dtype, result.outputs[i].data(), result.outputs[i].size()));
  object.Set("metrics", metrics);
  object.Set("outputs", outputs);
  object.Set("gradientNorm", result.gradient_norm);
  object.Set("seconds", result.seconds);
  object.Set("waitSeconds", result.wait_seconds);
  return object;
}

StepInput to_step_input(const Napi::Object& object) {
  StepInput input;
  input.step = static_cast<uint32_t>(number_field(object, "step"));
  input.seed = static_cast<uint64_t>(number_field(object, "seed"));
  input.learning_rate = number_field(object, "learningRate");
  input.timeout_seconds = number_field(object, "timeoutSeconds");
  const Napi::Object fields = object_field(object, "inputs");
  const Napi::Array names = fields.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).ToString().Utf8Value();
    const Bytes bytes = to_bytes(fields.Get(name));
    input.inputs[name] = {bytes.data, bytes.size};
  }
  return input;
}

}  // namespace

void EngineObject::define(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", DefineClass(env, "Engine",
                                    {InstanceMethod<&EngineObject::handles>("handles"), InstanceMethod<&EngineObject::load>("load"),
                                     InstanceMethod<&EngineObject::connect>("connect"), InstanceMethod<&EngineObject::write>("write"),
                                     InstanceMethod<&EngineObject::read>("read"),
                                     InstanceMethod<&EngineObject::set_updates>("setUpdates"),
                                     InstanceMethod<&EngineObject::run>("run"), InstanceMethod<&EngineObject::abort>("abort"),
                                     InstanceMethod<&EngineObject::measured_bytes>("measuredBytes"),
                                     InstanceMethod<&EngineObject::kernel_times>("kernelTimes"),
                                     InstanceMethod<&EngineObject::close>("close")}));
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  guarded(info.Env(), [&] {
    int threads = 1;
    if (info[1].IsObject() && info[1].As<Napi::Object>().Get("threads").IsNumber())
      threads = std::max(1, static_cast<int>(number_field(info[1].As<Napi::Object>(), "threads")));
    engine_ = std::make_shared<Engine>(to_rank_plan(info[0].As<Napi::Object>()));
    thread_ = std::make_unique<StepThread>(threads);
    settle_ = Napi::ThreadSafeFunction::New(info.Env(), Napi::Function(), "merak.Engine", 0, 1);
    settle_.Unref(info.Env());
    void (*leave)(EngineObject*) = [](EngineObject* self) { self->shut_down("the process ends"); };
    hook_ = info.Env().AddCleanupHook(leave, this);
  });
}

EngineObject::~EngineObject() {
  shut_down("the engine was collected");
  if (!hook_.IsEmpty()) hook_.Remove(Env());
}

void EngineObject::shut_down(const char* reason) {
  if (!thread_) return;
  engine_->abort(reason);
  thread_.reset();
  settle_.Release();
  engine_.reset();
}

Engine& EngineObject::engine() {
  if (!thread_) throw EngineError("engine/not-loaded", "the engine is closed");
  return *engine_;
}

Napi::Value EngineObject::submit(Napi::Env env, std::function<Finish()> work, const Napi::Value& keep) {
  engine();
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  // `keep` and this object are held by references that the settling call lets go of, on the JavaScript thread.
  auto* kept = new Napi::ObjectReference();
  if (keep.IsObject()) *kept = Napi::Persistent(keep.As<Napi::Object>());
  Ref();
  if (num_pending_++ == 0) settle_.Ref(env);
  thread_->post([this, deferred, kept, work = std::move(work)] {
    Finish finish;
    auto failure = std::make_shared<Failure>();
    try {
      finish = work();
    } catch (const Unsupported& error) {
      *failure = {"engine/unsupported", error.what()};
    } catch (const EngineError& error) {
      *failure = {error.code, error.what()};
    } catch (const CommError& error) {
      *failure = {error.code, error.what()};
    } catch (const std::bad_alloc&) {
      *failure = {"plan/out-of-memory", "the engine's working memory cannot be allocated"};
    } catch (const std::exception& error) {
      *failure = {"engine/kernel", error.what()};
    }
    settle_.BlockingCall([this, deferred, kept, finish = std::move(finish), failure](Napi::Env env, Napi::Function) {
      Napi::HandleScope scope(env);
      if (failure->code.empty()) {
        try {
          deferred->Resolve(finish(env));
        } catch (const Napi::Error& error) {
          deferred->Reject(error.Value());
        }
      } else {
        deferred->Reject(to_error(env, failure->code, failure->message).Value());
      }
      delete kept;
      if (--num_pending_ == 0 && thread_) settle_.Unref(env);
      Unref();
    });
  });
  return deferred->Promise();
}

Napi::Value EngineObject::handles(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const ArenaHandle& handle : engine().open_handles()) list.Set(list.Length(), to_handle(info.Env(), handle));
    return list;
  });
}

Napi::Value EngineObject::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto executable = std::make_shared<Executable>(to_executable(info[0].As<Napi::Object>()));
    return submit(info.Env(), [this, executable]() -> Finish {
      const ArenaHandle handle = engine_->load(std::move(*executable));
      return [handle](Napi::Env env) -> Napi::Value { return to_handle(env, handle); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::connect(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    struct Peer {
      int rank;
      std::string arena;
      int pid, fd;
      size_t bytes;
    };
    std::vector<Peer> peers;
    const auto list = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) {
      const auto handle = list.Get(i).As<Napi::Object>();
      peers.push_back({static_cast<int>(number_field(handle, "rank")), text_field(handle, "arena"),
                       static_cast<int>(number_field(handle, "pid")), static_cast<int>(number_field(handle, "fd")),
                       static_cast<size_t>(number_field(handle, "bytes"))});
    }
    return submit(info.Env(), [this, peers]() -> Finish {
      for (const Peer& peer : peers) engine_->connect(peer.rank, peer.arena, peer.pid, peer.fd, peer.bytes);
      return [](Napi::Env env) { return env.Undefined(); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const size_t index = static_cast<size_t>(info[0].ToNumber().Int64Value());
    const int moment = info[1].ToNumber().Int32Value();
    const Bytes bytes = to_bytes(info[2]);
    return submit(info.Env(), [this, index, moment, bytes]() -> Finish {
      const auto [data, size] = engine_->parameter(index, moment);
      if (size != bytes.size)
        throw EngineError("plan/invalid", "parameter " + engine_->plan().parameters[index].name + " has " + std::to_string(size) +
                                              " bytes, not " + std::to_string(bytes.size));
      if (size) std::memcpy(data, bytes.data, size);
      return [](Napi::Env env) { return env.Undefined(); };
    }, info[2]);
  });
}

Napi::Value EngineObject::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const size_t index = static_cast<size_t>(info[0].ToNumber().Int64Value());
    const int moment = info[1].ToNumber().Int32Value();
    return submit(info.Env(), [this, index, moment]() -> Finish {
      const auto [data, size] = engine_->parameter(index, moment);
      const DType dtype = engine_->parameter_dtype(index, moment);
      auto bytes = std::make_shared<std::vector<std::byte>>(data, data + size);
      return [bytes, dtype](Napi::Env env) { return copied(env, dtype, bytes->data(), bytes->size()); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::set_updates(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int64_t updates = info[0].ToNumber().Int64Value();
    return submit(info.Env(), [this, updates]() -> Finish {
      engine_->set_updates(updates);
      return [](Napi::Env env) { return env.Undefined(); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::string name = info[0].ToString().Utf8Value();
    const auto input = std::make_shared<StepInput>(to_step_input(info[1].As<Napi::Object>()));
    return submit(info.Env(), [this, name, input]() -> Finish {
      const auto result = std::make_shared<StepResult>(engine_->run(name, *input));
      const Executable& plan = engine_->executable(name).plan;
      return [result, names = ResultNames{plan.metrics, plan.outputs}](Napi::Env env) { return to_result(env, *result, names); };
    }, info[1]);
  });
}

Napi::Value EngineObject::abort(const Napi::CallbackInfo& info) {
  if (thread_) engine_->abort(info[0].ToString().Utf8Value());
  return info.Env().Undefined();
}

Napi::Value EngineObject::measured_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Object object = Napi::Object::New(info.Env());
    for (const auto& [name, bytes] : engine().measured_bytes()) object.Set(name, static_cast<double>(bytes));
    return object;
  });
}

Napi::Value EngineObject::kernel_times(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [this]() -> Finish {
      return [times = engine_->kernel_times()](Napi::Env env) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        for (const auto& [kernel, time] : times) {
          Napi::Object entry = Napi::Object::New(env);
          entry.Set("seconds", time.seconds);
          entry.Set("numRuns", static_cast<double>(time.num_runs));
          object.Set(kernel, entry);
        }
        return object;
      };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::close(const Napi::CallbackInfo& info) {
  shut_down("the engine is closed");
  return info.Env().Undefined();
}

}  // namespace merak
