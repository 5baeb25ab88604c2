// The JavaScript class HostCommunicator: collectives and messages on typed arrays, for devices that live in JavaScript.
#pragma once
#include <napi.h>  // Node-API

#include <memory>  // the communicator

#include "addon/promise_thread.h"  // PromiseThread
#include "comm/staged.h"           // StagedCommunicator

namespace merak {

// new HostCommunicator({rank, worldSize, groups: [{id, axis, ranks}], ringBytes?}). Collectives and receives run one after the
// other on a thread of their own, sends on another, so that ranks that first send and then receive cannot block each other.
class HostCommunicator : public Napi::ObjectWrap<HostCommunicator> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  explicit HostCommunicator(const Napi::CallbackInfo& info);
  ~HostCommunicator() override;

 private:
  Napi::Value handles(const Napi::CallbackInfo& info);     // () -> [{arena, pid, fd, bytes}]
  Napi::Value connect(const Napi::CallbackInfo& info);     // ([{rank, arena, pid, fd, bytes}]) -> Promise
  Napi::Value all_reduce(const Napi::CallbackInfo& info);  // (group, Float32Array, 'sum' | 'max') -> Promise<Float32Array>
  Napi::Value all_gather(const Napi::CallbackInfo& info);  // (group, Uint8Array) -> Promise<Uint8Array[]>
  Napi::Value broadcast(const Napi::CallbackInfo& info);   // (group, Uint8Array, rootIndex) -> Promise<Uint8Array>
  Napi::Value time_all_reduce(const Napi::CallbackInfo& info);  // (group, count, times, repeat) -> Promise<seconds>
  Napi::Value send(const Napi::CallbackInfo& info);        // (peer, tag, Uint8Array) -> Promise
  Napi::Value receive(const Napi::CallbackInfo& info);     // (peer, tag) -> Promise<Uint8Array>
  Napi::Value set_timeout(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);       // (reason)
  Napi::Value take_wait_seconds(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);       // ends what waits; the object is dead

  StagedCommunicator& communicator();
  void shut(const std::string& reason);

  std::unique_ptr<StagedCommunicator> communicator_;  // null once closed; the threads end before it
  std::unique_ptr<PromiseThread> thread_, sender_;
  // Runs before Node takes the threads' settling functions down with the environment, which comes before the destructor.
  Napi::Env::CleanupHook<void (*)(HostCommunicator*), HostCommunicator> hook_;
};

}  // namespace merak
