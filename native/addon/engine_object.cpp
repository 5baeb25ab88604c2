// The JavaScript class Engine: arguments in, jobs to the step thread, results out.
#include "addon/engine_object.h"

#include <algorithm>  // copy
#include <optional>   // loss scaling

#include "addon/convert.h"  // JavaScript values
#include "addon/plan.h"     // to_rank_plan
#include "cuda/backend.h"   // make_cuda_backend
#include "engine/error.h"   // EngineError

namespace merak {
namespace {

// What names a step's results, apart from the engine, which may be closed by the time they are read.
struct ResultNames {
  std::vector<std::string> metrics;
  std::vector<OutputPlan> outputs;
};

// One row of kSpanFields numbers per span; src/runtime/spans.ts reads them.
Napi::Value to_rows(Napi::Env env, const std::vector<Span>& spans) {
  constexpr size_t kSpanFields = 9;
  auto rows = Napi::Float64Array::New(env, spans.size() * kSpanFields);
  double* row = rows.Data();
  for (const Span& span : spans) {
    const double fields[kSpanFields] = {static_cast<double>(span.kind), static_cast<double>(span.index), static_cast<double>(span.detail),
                                        span.begin, span.end, span.wait, span.bytes, static_cast<double>(span.buffer),
                                        span.helper ? 1.0 : 0.0};
    row = std::copy(std::begin(fields), std::end(fields), row);
  }
  return rows;
}

Napi::Object to_loss_scaling(Napi::Env env, const LossScaleState& state) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("scale", state.scale);
  object.Set("goodSteps", static_cast<double>(state.good_steps));
  return object;
}

// `scaling`: of the next step; where the plan scales its loss.
Napi::Value to_result(Napi::Env env, const StepResult& result, const ResultNames& plan, const std::optional<LossScaleState>& scaling) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Object metrics = Napi::Object::New(env);
  for (size_t i = 0; i < plan.metrics.size(); i++) metrics.Set(plan.metrics[i], result.metrics[i]);
  Napi::Object outputs = Napi::Object::New(env);
  for (size_t i = 0; i < plan.outputs.size(); i++)
    outputs.Set(plan.outputs[i].name, to_array(env, plan.outputs[i].type.dtype, result.outputs[i].data(), result.outputs[i].size()));
  object.Set("metrics", metrics);
  object.Set("outputs", outputs);
  object.Set("gradientNorm", result.gradient_norm);
  object.Set("seconds", result.seconds);
  object.Set("waitSeconds", result.wait_seconds);
  if (scaling) {
    Napi::Object state = to_loss_scaling(env, *scaling);
    state.Set("overflowed", result.overflowed);
    object.Set("lossScaling", state);
  }
  if (!result.spans.empty()) object.Set("spans", to_rows(env, result.spans));
  return object;
}

Napi::Value to_handles(Napi::Env env, const std::vector<ArenaHandle>& handles) {
  Napi::Array list = Napi::Array::New(env);
  for (const ArenaHandle& handle : handles) list.Set(list.Length(), to_handle(env, handle.arena, handle.fd, handle.bytes));
  return list;
}

Fields to_fields(const Napi::Object& object) {
  Fields fields;
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).ToString().Utf8Value();
    const Bytes bytes = to_bytes(object.Get(name));
    fields[name] = {bytes.data, bytes.size};
  }
  return fields;
}

StepInput to_step_input(const Napi::Object& object) {
  StepInput input;
  input.step = static_cast<uint32_t>(number_field(object, "step"));
  input.seed = static_cast<uint64_t>(number_field(object, "seed"));
  input.learning_rate = number_field(object, "learningRate");
  input.timeout_seconds = number_field(object, "timeoutSeconds");
  input.record = object.Get("record").IsBoolean() && object.Get("record").As<Napi::Boolean>().Value();
  input.inputs = to_fields(object_field(object, "inputs"));
  input.ticket = object.Get("ticket").IsNumber() ? static_cast<uint64_t>(number_field(object, "ticket")) : 0;
  return input;
}

// {cuda: {ordinal}} names a card; nothing, the processor.
std::unique_ptr<Backend> to_backend(const Napi::Value& options) {
  if (!options.IsObject() || !options.As<Napi::Object>().Get("cuda").IsObject()) return make_cpu_backend();
  const Napi::Object cuda = object_field(options.As<Napi::Object>(), "cuda");
  return cuda::make_cuda_backend(std::make_shared<cuda::Device>(static_cast<int>(number_field(cuda, "ordinal"))));
}

}  // namespace

void EngineObject::define(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", DefineClass(env, "Engine",
                                    {InstanceMethod<&EngineObject::handles>("handles"), InstanceMethod<&EngineObject::load>("load"),
                                     InstanceMethod<&EngineObject::connect>("connect"), InstanceMethod<&EngineObject::write>("write"),
                                     InstanceMethod<&EngineObject::read>("read"),
                                     InstanceMethod<&EngineObject::set_updates>("setUpdates"),
                                     InstanceMethod<&EngineObject::run>("run"),
                                     InstanceMethod<&EngineObject::announce>("announce"), InstanceMethod<&EngineObject::abort>("abort"),
                                     InstanceMethod<&EngineObject::measured_bytes>("measuredBytes"),
                                     InstanceMethod<&EngineObject::kernel_times>("kernelTimes"),
                                     InstanceMethod<&EngineObject::take_collective_trace>("takeCollectiveTrace"),
                                     InstanceMethod<&EngineObject::close>("close")}));
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  guarded(info.Env(), [&] {
    int threads = 1;
    if (info[1].IsObject() && info[1].As<Napi::Object>().Get("threads").IsNumber())
      threads = std::max(1, static_cast<int>(number_field(info[1].As<Napi::Object>(), "threads")));
    engine_ = std::make_shared<Engine>(to_rank_plan(info[0].As<Napi::Object>()), to_backend(info[1]));
    thread_ = std::make_unique<PromiseThread>(info.Env(), "merak.Engine", threads);
    void (*leave)(EngineObject*) = [](EngineObject* self) {
      self->hook_ = {};  // a hook that has run must not be removed
      self->shut_down("the process ends");
    };
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
  engine_.reset();
}

Engine& EngineObject::engine() {
  if (!thread_) throw EngineError("engine/not-loaded", "the engine is closed");
  return *engine_;
}

Napi::Value EngineObject::submit(Napi::Env env, std::function<Finish()> work, const Napi::Value& keep) {
  engine();
  return thread_->submit(env, std::move(work), {Value(), keep});
}

Napi::Value EngineObject::handles(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return to_handles(info.Env(), engine().open_handles());
  });
}

Napi::Value EngineObject::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto executable = std::make_shared<Executable>(to_executable(info[0].As<Napi::Object>()));
    return submit(info.Env(), [this, executable]() -> Finish {
      return [handles = engine_->load(std::move(*executable))](Napi::Env env) { return to_handles(env, handles); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::connect(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::vector<PeerHandle> peers = to_peer_handles(info[0]);
    return submit(info.Env(), [this, peers]() -> Finish {
      for (const PeerHandle& peer : peers) engine_->connect(peer.rank, peer.arena, peer.pid, peer.fd, peer.bytes);
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
      engine_->write(index, moment, bytes.data, bytes.size);
      return [](Napi::Env env) { return env.Undefined(); };
    }, info[2]);
  });
}

Napi::Value EngineObject::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const size_t index = static_cast<size_t>(info[0].ToNumber().Int64Value());
    const int moment = info[1].ToNumber().Int32Value();
    return submit(info.Env(), [this, index, moment]() -> Finish {
      const DType dtype = engine_->parameter_dtype(index, moment);
      auto bytes = std::make_shared<std::vector<std::byte>>(engine_->parameter_bytes(index, moment));
      engine_->read(index, moment, bytes->data(), bytes->size());
      return [bytes, dtype](Napi::Env env) -> Napi::Value { return to_array(env, dtype, bytes->data(), bytes->size()); };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::set_updates(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int64_t updates = info[0].ToNumber().Int64Value();
    std::optional<LossScaleState> scaling;
    if (info[1].IsObject()) {
      const auto state = info[1].As<Napi::Object>();
      scaling = {number_field(state, "scale"), static_cast<int64_t>(number_field(state, "goodSteps"))};
    }
    return submit(info.Env(), [this, updates, scaling]() -> Finish {
      engine_->set_updates(updates);
      if (scaling) engine_->set_loss_scale(*scaling);
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
      const auto scaling = engine_->plan().loss_scale.is_on() ? std::optional(engine_->loss_scale()) : std::nullopt;
      return [result, scaling, names = ResultNames{plan.metrics, plan.outputs}](Napi::Env env) { return to_result(env, *result, names, scaling); };
    }, info[1]);
  });
}

Napi::Value EngineObject::announce(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    engine().announce({static_cast<uint64_t>(info[1].ToNumber().Int64Value()), info[0].ToString().Utf8Value(), to_fields(info[2].As<Napi::Object>())});
    return info.Env().Undefined();
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

Napi::Value EngineObject::take_collective_trace(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [this]() -> Finish {
      return [trace = engine_->take_collective_trace()](Napi::Env env) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env, trace.size());
        for (size_t i = 0; i < trace.size(); i++) {
          Napi::Object entry = Napi::Object::New(env);
          entry.Set("started", trace[i].started);
          entry.Set("begun", trace[i].begun);
          entry.Set("ended", trace[i].ended);
          entry.Set("awaited", trace[i].awaited);
          entry.Set("released", trace[i].released);
          list.Set(static_cast<uint32_t>(i), entry);
        }
        return list;
      };
    }, info.Env().Undefined());
  });
}

Napi::Value EngineObject::close(const Napi::CallbackInfo& info) {
  shut_down("the engine is closed");
  return info.Env().Undefined();
}

}  // namespace merak
