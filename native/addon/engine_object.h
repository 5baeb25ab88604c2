// The JavaScript class Engine.
#pragma once
#include <napi.h>  // Node-API

#include <functional>  // results made on the JavaScript thread
#include <memory>      // the engine

#include "addon/promise_thread.h"  // PromiseThread
#include "engine/engine.h"         // Engine

namespace merak {

// new Engine(rankPlan, {threads, cuda?: {ordinal}}). Work runs on the engine's own thread; its methods return promises.
class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  using Finish = PromiseThread::Finish;
  // Runs `work` on the step thread; its result, or error, settles the promise. `keep` stays alive until then.
  Napi::Value submit(Napi::Env env, std::function<Finish()> work, const Napi::Value& keep);

  Napi::Value handles(const Napi::CallbackInfo& info);   // () -> [{arena, pid, fd, bytes}]
  Napi::Value load(const Napi::CallbackInfo& info);      // (executable) -> Promise<[handle]>
  Napi::Value connect(const Napi::CallbackInfo& info);   // ([{rank, arena, pid, fd, bytes}]) -> Promise
  Napi::Value write(const Napi::CallbackInfo& info);     // (index, moment or -1, data) -> Promise
  Napi::Value read(const Napi::CallbackInfo& info);      // (index, moment or -1) -> Promise<array>
  Napi::Value set_updates(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);       // (name, {step, seed, learningRate, timeoutSeconds, inputs: {}, record?, ticket?}) -> Promise
  Napi::Value announce(const Napi::CallbackInfo& info);  // (name, ticket, inputs): arrays that stay until the run of this ticket has settled
  Napi::Value abort(const Napi::CallbackInfo& info);     // (reason)
  Napi::Value measured_bytes(const Napi::CallbackInfo& info);
  Napi::Value kernel_times(const Napi::CallbackInfo& info);  // () -> Promise<{kernel: {seconds, numRuns}}>
  // () -> Promise<[{started, begun, ended, awaited, released}]>: collectives that ran beside computation, in seconds.
  Napi::Value take_collective_trace(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);     // frees everything; the object is dead

  Engine& engine();
  // Ends a step in flight at its next node or wait, joins the thread. Twice does no harm.
  void shut_down(const char* reason);

  std::shared_ptr<Engine> engine_;
  std::unique_ptr<PromiseThread> thread_;
  // Runs before Node takes the thread's settling function down with the environment, which comes before this object's destructor.
  Napi::Env::CleanupHook<void (*)(EngineObject*), EngineObject> hook_;
};

}  // namespace merak
