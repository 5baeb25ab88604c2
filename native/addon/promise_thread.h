// A thread whose jobs settle promises.
#pragma once
#include <napi.h>  // Node-API

#include <functional>  // jobs
#include <memory>      // shared state
#include <vector>      // what a job keeps alive

#include "engine/step_thread.h"  // StepThread

namespace merak {

// The event loop stays alive while a job is pending.
class PromiseThread {
 public:
  using Finish = std::function<Napi::Value(Napi::Env)>;  // makes the promise's value, on the JavaScript thread

  PromiseThread(Napi::Env env, const char* name, int num_threads);
  // Lets the queued jobs finish; their promises still settle.
  ~PromiseThread();
  // Runs `work` after the jobs before it; its result, or its error with a Merak code, settles the promise. `keep` stays
  // alive until then.
  Napi::Promise submit(Napi::Env env, std::function<Finish()> work, const std::vector<Napi::Value>& keep);

 private:
  struct Settler {
    Napi::ThreadSafeFunction call;
    int num_pending = 0;  // touched on the JavaScript thread only
    bool released = false;
  };
  std::shared_ptr<Settler> settler_;
  std::unique_ptr<StepThread> thread_;
};

}  // namespace merak
