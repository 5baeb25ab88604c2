// The JavaScript class HostCommunicator: arguments in, jobs to its two threads, copies out.
#include "addon/host_communicator.h"

#include "addon/convert.h"  // JavaScript values
#include "engine/error.h"   // EngineError

namespace merak {
namespace {

std::vector<GroupSpec> to_groups(const Napi::Array& list) {
  std::vector<GroupSpec> groups;
  for (uint32_t i = 0; i < list.Length(); i++) {
    const auto object = list.Get(i).As<Napi::Object>();
    GroupSpec spec{static_cast<int>(number_field(object, "id")), text_field(object, "axis"), {}};
    const Napi::Array ranks = array_field(object, "ranks");
    for (uint32_t k = 0; k < ranks.Length(); k++) spec.ranks.push_back(ranks.Get(k).ToNumber().Int32Value());
    groups.push_back(std::move(spec));
  }
  return groups;
}

Napi::Value nothing(Napi::Env env) { return env.Undefined(); }

}  // namespace

void HostCommunicator::define(Napi::Env env, Napi::Object exports) {
  using Self = HostCommunicator;
  exports.Set("HostCommunicator",
              DefineClass(env, "HostCommunicator",
                          {InstanceMethod<&Self::handles>("handles"), InstanceMethod<&Self::connect>("connect"),
                           InstanceMethod<&Self::all_reduce>("allReduce"), InstanceMethod<&Self::all_gather>("allGather"),
                           InstanceMethod<&Self::broadcast>("broadcast"), InstanceMethod<&Self::time_all_reduce>("timeAllReduce"),
                           InstanceMethod<&Self::send>("send"), InstanceMethod<&Self::receive>("receive"),
                           InstanceMethod<&Self::set_timeout>("setTimeout"), InstanceMethod<&Self::abort>("abort"),
                           InstanceMethod<&Self::take_wait_seconds>("takeWaitSeconds"), InstanceMethod<&Self::close>("close")}));
}

HostCommunicator::HostCommunicator(const Napi::CallbackInfo& info) : Napi::ObjectWrap<HostCommunicator>(info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsObject()) throw std::runtime_error("a HostCommunicator is made from {rank, worldSize, groups}");
    const auto options = info[0].As<Napi::Object>();
    const size_t ring_bytes = options.Get("ringBytes").IsNumber() ? static_cast<size_t>(number_field(options, "ringBytes")) : 0;
    communicator_ = std::make_unique<StagedCommunicator>(static_cast<int>(number_field(options, "rank")),
                                                         static_cast<int>(number_field(options, "worldSize")),
                                                         to_groups(array_field(options, "groups")), ring_bytes);
    thread_ = std::make_unique<PromiseThread>(info.Env(), "merak.HostCommunicator", 1);
    sender_ = std::make_unique<PromiseThread>(info.Env(), "merak.HostCommunicator.send", 1);
    void (*leave)(HostCommunicator*) = [](HostCommunicator* self) {
      self->hook_ = {};  // a hook that has run must not be removed
      self->shut("the process ends");
    };
    hook_ = info.Env().AddCleanupHook(leave, this);
  });
}

HostCommunicator::~HostCommunicator() {
  shut("the communicator was collected");
  if (!hook_.IsEmpty()) hook_.Remove(Env());
}

void HostCommunicator::shut(const std::string& reason) {
  if (communicator_) communicator_->shm().abort(reason);
  thread_.reset();  // joins: a wait in flight ends within a tenth of a second
  sender_.reset();
  communicator_.reset();
}

StagedCommunicator& HostCommunicator::communicator() {
  if (!communicator_) throw EngineError("engine/not-loaded", "the communicator is closed");
  return *communicator_;
}

Napi::Value HostCommunicator::handles(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto own = [&](const char* name, const Arena& arena) { return to_handle(info.Env(), name, arena.fd(), arena.bytes()); };
    Napi::Array list = Napi::Array::New(info.Env());
    list.Set(0u, own("control", *communicator().shm().control()));
    list.Set(1u, own("staging", communicator().staging()));
    return list;
  });
}

Napi::Value HostCommunicator::connect(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::vector<PeerHandle> peers = to_peer_handles(info[0]);
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, peers]() -> PromiseThread::Finish {
      for (const PeerHandle& peer : peers) {
        try {
          communicator.shm().add_peer_arena(peer.rank, peer.arena, peer.pid, peer.fd, peer.bytes);
        } catch (const std::exception& error) {
          throw CommError("comm/peer-lost", peer.rank, "rank " + std::to_string(peer.rank) + ": " + error.what());
        }
      }
      return nothing;
    }, {info.This()});
  });
}

Napi::Value HostCommunicator::all_reduce(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int group = info[0].ToNumber().Int32Value();
    const Bytes bytes = to_bytes(info[1]);
    const ReduceOp op = info[2].ToString().Utf8Value() == "max" ? ReduceOp::max : ReduceOp::sum;
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, group, bytes, op]() -> PromiseThread::Finish {
      const auto result = std::make_shared<std::vector<float>>(bytes.size / sizeof(float));
      if (bytes.size) std::memcpy(result->data(), bytes.data, bytes.size);
      communicator.all_reduce(group, result->data(), result->size(), op);
      return [result](Napi::Env env) -> Napi::Value { return to_array(env, DType::f32, result->data(), result->size() * sizeof(float)); };
    }, {info.This(), info[1]});
  });
}

Napi::Value HostCommunicator::all_gather(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int group = info[0].ToNumber().Int32Value();
    const Bytes bytes = to_bytes(info[1]);
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, group, bytes]() -> PromiseThread::Finish {
      const auto parts = std::make_shared<std::vector<StagedCommunicator::Buffer>>(
          communicator.all_gather(group, reinterpret_cast<const std::byte*>(bytes.data), bytes.size));
      return [parts](Napi::Env env) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env, parts->size());
        for (uint32_t i = 0; i < parts->size(); i++) list.Set(i, to_array(env, DType::b8, (*parts)[i].data(), (*parts)[i].size()));
        return list;
      };
    }, {info.This(), info[1]});
  });
}

Napi::Value HostCommunicator::broadcast(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int group = info[0].ToNumber().Int32Value();
    const Bytes bytes = to_bytes(info[1]);
    const int root_index = info[2].ToNumber().Int32Value();
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, group, bytes, root_index]() -> PromiseThread::Finish {
      const auto* begin = reinterpret_cast<const std::byte*>(bytes.data);
      const auto data = std::make_shared<StagedCommunicator::Buffer>(begin, begin + bytes.size);
      communicator.broadcast(group, data->data(), data->size(), root_index);
      return [data](Napi::Env env) -> Napi::Value { return to_array(env, DType::b8, data->data(), data->size()); };
    }, {info.This(), info[1]});
  });
}

Napi::Value HostCommunicator::time_all_reduce(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int group = info[0].ToNumber().Int32Value(), times = info[2].ToNumber().Int32Value(), repeat = info[3].ToNumber().Int32Value();
    const auto count = static_cast<size_t>(info[1].ToNumber().Int64Value());
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, group, count, times, repeat]() -> PromiseThread::Finish {
      const double seconds = communicator.time_all_reduce(group, count, times, repeat);
      return [seconds](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, seconds); };
    }, {info.This()});
  });
}

Napi::Value HostCommunicator::send(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int peer = info[0].ToNumber().Int32Value();
    const uint32_t tag = info[1].ToNumber().Uint32Value();
    const Bytes bytes = to_bytes(info[2]);
    StagedCommunicator& communicator = this->communicator();
    return sender_->submit(info.Env(), [&communicator, peer, tag, bytes]() -> PromiseThread::Finish {
      communicator.send(peer, tag, reinterpret_cast<const std::byte*>(bytes.data), bytes.size);
      return nothing;
    }, {info.This(), info[2]});
  });
}

Napi::Value HostCommunicator::receive(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int peer = info[0].ToNumber().Int32Value();
    const uint32_t tag = info[1].ToNumber().Uint32Value();
    StagedCommunicator& communicator = this->communicator();
    return thread_->submit(info.Env(), [&communicator, peer, tag]() -> PromiseThread::Finish {
      const auto message = std::make_shared<StagedCommunicator::Buffer>(communicator.receive(peer, tag));
      return [message](Napi::Env env) -> Napi::Value { return to_array(env, DType::b8, message->data(), message->size()); };
    }, {info.This()});
  });
}

Napi::Value HostCommunicator::set_timeout(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    communicator().shm().set_timeout(info[0].ToNumber().DoubleValue());
    return info.Env().Undefined();
  });
}

Napi::Value HostCommunicator::abort(const Napi::CallbackInfo& info) {
  if (communicator_) communicator_->shm().abort(info[0].ToString().Utf8Value());
  return info.Env().Undefined();
}

Napi::Value HostCommunicator::take_wait_seconds(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), communicator().shm().take_wait_seconds());
  });
}

Napi::Value HostCommunicator::close(const Napi::CallbackInfo& info) {
  shut("the communicator was closed");
  return info.Env().Undefined();
}

}  // namespace merak
