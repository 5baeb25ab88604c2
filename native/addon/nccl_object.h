// The JavaScript class NcclComm: one NCCL communicator with device buffers, for use without the engine.
#pragma once
#include <napi.h>  // Node-API

#include <map>     // buffers
#include <memory>  // ownership

#include "addon/promise_thread.h"  // PromiseThread
#include "cuda/nccl_comm.h"        // NcclComm

namespace merak {

// new NcclComm({device, numRanks, rank, id, timeoutSeconds}). Everything runs in order on one thread and one stream; a promise settles once
// its work is enqueued, those of read and synchronize once it is done.
class NcclObject : public Napi::ObjectWrap<NcclObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);  // NcclComm, ncclUniqueId
  explicit NcclObject(const Napi::CallbackInfo& info);
  ~NcclObject() override;

 private:
  struct State;

  Napi::Value init(const Napi::CallbackInfo& info);         // () -> Promise, once every rank has joined
  Napi::Value alloc(const Napi::CallbackInfo& info);        // (bytes) -> Promise<buffer number>
  Napi::Value free(const Napi::CallbackInfo& info);         // (buffer) -> Promise
  Napi::Value write(const Napi::CallbackInfo& info);        // (buffer, offset, typed array) -> Promise
  Napi::Value read(const Napi::CallbackInfo& info);         // (buffer, offset, bytes) -> Promise<Uint8Array>
  Napi::Value submit(const Napi::CallbackInfo& info);       // ([{kind, from, fromOffset, to, toOffset, count, dtype, op, peer}]) -> Promise
  Napi::Value synchronize(const Napi::CallbackInfo& info);  // () -> Promise
  Napi::Value async_error(const Napi::CallbackInfo& info);  // () -> '' or NCCL's words
  Napi::Value abort(const Napi::CallbackInfo& info);        // (reason)
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Value run(const Napi::CallbackInfo& info, std::function<PromiseThread::Finish(State&)> work, const Napi::Value& keep);
  void shut(const std::string& reason);

  std::shared_ptr<State> state_;
  std::unique_ptr<PromiseThread> thread_;
  // Runs before Node takes the thread's settling function down with the environment.
  Napi::Env::CleanupHook<void (*)(NcclObject*), NcclObject> hook_;
};

}  // namespace merak
