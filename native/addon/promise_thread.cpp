// Jobs to a thread, results and errors back to JavaScript.
#include "addon/promise_thread.h"

#include <new>        // std::bad_alloc
#include <optional>   // failure

#include "addon/convert.h"       // to_error
#include "comm/communicator.h"   // CommError
#include "engine/error.h"        // EngineError

namespace merak {
namespace {

struct Failure {
  std::string code, message;
};

// Runs the job; what it throws, as a code and a message.
std::optional<Failure> attempt(const std::function<PromiseThread::Finish()>& work, PromiseThread::Finish& finish) {
  try {
    finish = work();
    return {};
  } catch (const Unsupported& error) {
    return Failure{"engine/unsupported", error.what()};
  } catch (const EngineError& error) {
    return Failure{error.code, error.what()};
  } catch (const CommError& error) {
    return Failure{error.code, error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{"plan/out-of-memory", "working memory cannot be allocated"};
  } catch (const std::exception& error) {
    return Failure{"engine/kernel", error.what()};
  }
}

}  // namespace

PromiseThread::PromiseThread(Napi::Env env, const char* name, int num_threads)
    : settler_(std::make_shared<Settler>()), thread_(std::make_unique<StepThread>(num_threads)) {
  settler_->call = Napi::ThreadSafeFunction::New(env, Napi::Function(), name, 0, 1);
  settler_->call.Unref(env);
}

PromiseThread::~PromiseThread() {
  thread_.reset();
  settler_->released = true;
  settler_->call.Release();
}

Napi::Promise PromiseThread::submit(Napi::Env env, std::function<Finish()> work, const std::vector<Napi::Value>& keep) {
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  // Deleted by the settling call: references are let go of on the JavaScript thread.
  auto* kept = new std::vector<Napi::ObjectReference>();
  for (const Napi::Value& value : keep)
    if (value.IsObject()) kept->push_back(Napi::Persistent(value.As<Napi::Object>()));
  if (settler_->num_pending++ == 0) settler_->call.Ref(env);
  thread_->post([settler = settler_, deferred, kept, work = std::move(work)] {
    Finish finish;
    auto failure = attempt(work, finish);
    settler->call.BlockingCall([settler, deferred, kept, finish = std::move(finish), failure](Napi::Env env, Napi::Function) {
      Napi::HandleScope scope(env);
      if (failure) {
        deferred->Reject(to_error(env, failure->code, failure->message).Value());
      } else {
        try {
          deferred->Resolve(finish(env));
        } catch (const Napi::Error& error) {
          deferred->Reject(error.Value());
        }
      }
      delete kept;
      if (--settler->num_pending == 0 && !settler->released) settler->call.Unref(env);
    });
  });
  return deferred->Promise();
}

}  // namespace merak
