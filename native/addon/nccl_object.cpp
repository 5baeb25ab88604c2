// The JavaScript class NcclComm: arguments in, jobs to its thread, limits on every wait.
#include "addon/nccl_object.h"

#include <time.h>  // nanosleep

#include <atomic>   // abort
#include <chrono>   // limits
#include <cstring>  // memcpy

#include "addon/convert.h"       // JavaScript values
#include "comm/communicator.h"   // CommError
#include "engine/error.h"        // EngineError

namespace merak {
namespace {

using namespace cuda;
using Clock = std::chrono::steady_clock;

enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, send, receive };

struct Operation {
  Kind kind;
  int from, to;  // buffers
  size_t from_offset, to_offset, count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;  // or the root
};

Napi::Value nothing(Napi::Env env) { return env.Undefined(); }

template <class Value>
Value named(const std::string& name, std::initializer_list<std::pair<const char*, Value>> values, const char* what) {
  for (const auto& [known, value] : values)
    if (name == known) return value;
  throw EngineError("config/invalid", std::string("no such ") + what + ": '" + name + "'");
}

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8: case ncclUint8: return 1;
    case ncclFloat16: case ncclBfloat16: return 2;
    case ncclInt64: case ncclUint64: case ncclFloat64: return 8;
    default: return 4;
  }
}

const char* name_of(Kind kind) {
  static const char* const names[] = {"all-reduce", "reduce-scatter", "all-gather", "broadcast", "send", "receive"};
  return names[static_cast<int>(kind)];
}

Operation to_operation(const Napi::Object& object) {
  return {named<Kind>(text_field(object, "kind"), {{"allReduce", Kind::all_reduce}, {"reduceScatter", Kind::reduce_scatter}, {"allGather", Kind::all_gather},
                      {"broadcast", Kind::broadcast}, {"send", Kind::send}, {"recv", Kind::receive}}, "operation"),
          static_cast<int>(number_field(object, "from")), static_cast<int>(number_field(object, "to")),
          static_cast<size_t>(number_field(object, "fromOffset")), static_cast<size_t>(number_field(object, "toOffset")),
          static_cast<size_t>(number_field(object, "count")),
          named<ncclDataType_t>(text_field(object, "dtype"), {{"int8", ncclInt8}, {"uint8", ncclUint8}, {"int32", ncclInt32}, {"uint32", ncclUint32},
                                {"int64", ncclInt64}, {"uint64", ncclUint64}, {"float16", ncclFloat16}, {"float32", ncclFloat32},
                                {"float64", ncclFloat64}, {"bfloat16", ncclBfloat16}}, "dtype"),
          named<ncclRedOp_t>(text_field(object, "op"), {{"sum", ncclSum}, {"prod", ncclProd}, {"max", ncclMax}, {"min", ncclMin}, {"avg", ncclAvg}}, "reduction"),
          static_cast<int>(number_field(object, "peer"))};
}

}  // namespace

// Touched by the thread alone, but for `reason` and `is_aborted`.
struct NcclObject::State {
  int ordinal = 0, num_ranks = 1, rank = 0;
  double timeout_seconds = 100;
  ncclUniqueId id{};
  CUcontext context = nullptr;
  CUdevice device = 0;
  CUstream stream = nullptr;
  std::unique_ptr<NcclComm> comm;
  struct Buffer {
    CUdeviceptr address;
    size_t bytes;
  };
  std::map<int, Buffer> buffers;
  int next_buffer = 1;
  uint64_t sequence = 0;
  std::string operation = "joining";
  Clock::time_point since = Clock::now();
  std::mutex mutex;
  std::string reason;
  std::atomic<bool> is_aborted{false};

  ~State() {
    comm.reset();
    if (!context) return;
    const Driver& driver = find_driver();
    driver.cuCtxSetCurrent(context);
    for (const auto& [number, buffer] : buffers) driver.cuMemFree(buffer.address);
    if (stream) driver.cuStreamDestroy(stream);
    driver.cuDevicePrimaryCtxRelease(device);
  }

  void open() {
    const Driver& driver = cuda::driver();
    int count = 0;
    check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
    if (ordinal < 0 || ordinal >= count)
      throw EngineError("engine/no-gpu", "no device cuda:" + std::to_string(ordinal) + "; this machine has " + std::to_string(count));
    check(driver.cuDeviceGet(&device, ordinal), "cuDeviceGet");
    check(driver.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    check(driver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    check(driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    nccl();
  }

  CUdeviceptr range(int number, size_t offset, size_t bytes) const {
    const auto found = buffers.find(number);
    if (found == buffers.end()) throw EngineError("config/invalid", "the buffer was freed, or belongs to another communicator");
    if (offset > found->second.bytes || bytes > found->second.bytes - offset)
      throw EngineError("config/invalid", "bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) + " lie outside a buffer of " +
                                              std::to_string(found->second.bytes) + " bytes");
    return found->second.address + offset;
  }

  std::string where() const {
    return "rank " + std::to_string(rank) + " of " + std::to_string(num_ranks) + " waits in " + operation + ", sequence number " + std::to_string(sequence);
  }

  // Ends a wait: aborted, or out of time. NCCL does not say who is absent.
  void watch() {
    if (is_aborted) {
      if (comm) comm->abort();
      const std::lock_guard lock(mutex);
      throw CommError("comm/aborted", -1, where() + ": aborted: " + reason);
    }
    if (std::chrono::duration<double>(Clock::now() - since).count() <= timeout_seconds) return;
    if (comm) comm->abort();
    throw CommError("comm/timeout", -1, where() + ": no answer within " + std::to_string(timeout_seconds) + " s");
  }

  NcclComm& joined() {
    if (!comm) throw EngineError("engine/not-loaded", "the communicator has not been initialised");
    return *comm;
  }

  void synchronize() {
    since = Clock::now();
    const Driver& driver = cuda::driver();
    for (;;) {
      const CUresult state = driver.cuStreamQuery(stream);
      const ncclResult_t error = comm ? comm->async_error() : ncclSuccess;
      if (error != ncclSuccess && error != ncclInProgress) {
        comm->abort();
        throw CommError("comm/peer-lost", -1, where() + ": NCCL: " + nccl().ncclGetErrorString(error));
      }
      if (state == CUDA_SUCCESS) return;
      if (state != CUDA_ERROR_NOT_READY) check(state, "cuStreamQuery");
      watch();
      const timespec moment{0, 50000};
      nanosleep(&moment, nullptr);
    }
  }

  ncclResult_t enqueue(const Operation& o, ncclComm_t handle) {
    const Nccl& table = nccl();
    const size_t bytes = o.count * bytes_of(o.type), all = bytes * static_cast<size_t>(num_ranks);
    const auto from = [&](size_t size) { return reinterpret_cast<const void*>(range(o.from, o.from_offset, size)); };
    const auto to = [&](size_t size) { return reinterpret_cast<void*>(range(o.to, o.to_offset, size)); };
    switch (o.kind) {
      case Kind::all_reduce: return table.ncclAllReduce(from(bytes), to(bytes), o.count, o.type, o.op, handle, stream);
      case Kind::reduce_scatter: return table.ncclReduceScatter(from(all), to(bytes), o.count, o.type, o.op, handle, stream);
      case Kind::all_gather: return table.ncclAllGather(from(bytes), to(all), o.count, o.type, handle, stream);
      case Kind::broadcast: return table.ncclBroadcast(from(bytes), to(bytes), o.count, o.type, o.peer, handle, stream);
      case Kind::send: return table.ncclSend(from(bytes), o.count, o.type, o.peer, handle, stream);
      default: return table.ncclRecv(to(bytes), o.count, o.type, o.peer, handle, stream);
    }
  }

  // Throws before anything is enqueued where an operation reaches outside its buffers or names no rank.
  void validate(const Operation& o) const {
    const size_t bytes = o.count * bytes_of(o.type), all = bytes * static_cast<size_t>(num_ranks);
    if (o.kind != Kind::receive) range(o.from, o.from_offset, o.kind == Kind::reduce_scatter ? all : bytes);
    if (o.kind != Kind::send) range(o.to, o.to_offset, o.kind == Kind::all_gather ? all : bytes);
    if (o.peer < 0 || o.peer >= num_ranks) throw EngineError("config/invalid", "no rank " + std::to_string(o.peer) + " among " + std::to_string(num_ranks));
  }
};

void NcclObject::define(Napi::Env env, Napi::Object exports) {
  using Self = NcclObject;
  exports.Set("NcclComm", DefineClass(env, "NcclComm",
                                      {InstanceMethod<&Self::init>("init"), InstanceMethod<&Self::alloc>("alloc"), InstanceMethod<&Self::free>("free"),
                                       InstanceMethod<&Self::write>("write"), InstanceMethod<&Self::read>("read"),
                                       InstanceMethod<&Self::submit>("submit"), InstanceMethod<&Self::synchronize>("synchronize"),
                                       InstanceMethod<&Self::async_error>("asyncError"), InstanceMethod<&Self::abort>("abort"),
                                       InstanceMethod<&Self::close>("close")}));
  exports.Set("ncclUniqueId", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
    return guarded(info.Env(), [&]() -> Napi::Value {
      const ncclUniqueId id = make_nccl_id();
      return to_array(info.Env(), DType::b8, id.internal, sizeof id.internal);
    });
  }, "ncclUniqueId"));
}

NcclObject::NcclObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NcclObject>(info) {
  guarded(info.Env(), [&] {
    const auto options = info[0].As<Napi::Object>();
    state_ = std::make_shared<State>();
    state_->ordinal = static_cast<int>(number_field(options, "device"));
    state_->num_ranks = static_cast<int>(number_field(options, "numRanks"));
    state_->rank = static_cast<int>(number_field(options, "rank"));
    state_->timeout_seconds = number_field(options, "timeoutSeconds");
    const Bytes id = to_bytes(field(options, "id"));
    if (id.size != sizeof state_->id.internal) throw EngineError("config/invalid", "a unique id has 128 bytes, not " + std::to_string(id.size));
    std::memcpy(state_->id.internal, id.data, id.size);
    thread_ = std::make_unique<PromiseThread>(info.Env(), "merak.NcclComm", 1);
    void (*leave)(NcclObject*) = [](NcclObject* self) {
      self->hook_ = {};  // a hook that has run must not be removed
      self->shut("the process ends");
    };
    hook_ = info.Env().AddCleanupHook(leave, this);
  });
}

NcclObject::~NcclObject() {
  shut("the communicator was collected");
  if (!hook_.IsEmpty()) hook_.Remove(Env());
}

void NcclObject::shut(const std::string& reason) {
  if (!thread_) return;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->reason.empty()) state_->reason = reason;
  }
  state_->is_aborted = true;
  thread_.reset();
  state_.reset();
}

Napi::Value NcclObject::run(const Napi::CallbackInfo& info, std::function<PromiseThread::Finish(State&)> work, const Napi::Value& keep) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!thread_) throw EngineError("engine/not-loaded", "the communicator is closed");
    return thread_->submit(info.Env(), [state = state_, work = std::move(work)] {
      if (state->is_aborted) state->watch();
      if (!state->context) state->open();
      return work(*state);
    }, {info.This(), keep});
  });
}

Napi::Value NcclObject::init(const Napi::CallbackInfo& info) {
  return run(info, [](State& state) -> PromiseThread::Finish {
    state.since = Clock::now();
    if (!state.comm) state.comm = std::make_unique<NcclComm>(state.num_ranks, state.id, state.rank);
    while (!state.comm->is_ready()) {
      state.watch();
      const timespec moment{0, 200000};
      nanosleep(&moment, nullptr);
    }
    return nothing;
  }, info.Env().Undefined());
}

Napi::Value NcclObject::alloc(const Napi::CallbackInfo& info) {
  const auto bytes = static_cast<size_t>(info[0].ToNumber().Int64Value());
  return run(info, [bytes](State& state) -> PromiseThread::Finish {
    CUdeviceptr address = 0;
    check(driver().cuMemAlloc(&address, bytes), "cuMemAlloc");
    const int number = state.next_buffer++;
    state.buffers[number] = {address, bytes};
    return [number](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, number); };
  }, info.Env().Undefined());
}

Napi::Value NcclObject::free(const Napi::CallbackInfo& info) {
  const int number = info[0].ToNumber().Int32Value();
  return run(info, [number](State& state) -> PromiseThread::Finish {
    const CUdeviceptr address = state.range(number, 0, 0);
    state.synchronize();
    check(driver().cuMemFree(address), "cuMemFree");
    state.buffers.erase(number);
    return nothing;
  }, info.Env().Undefined());
}

Napi::Value NcclObject::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int number = info[0].ToNumber().Int32Value();
    const auto offset = static_cast<size_t>(info[1].ToNumber().Int64Value());
    const Bytes bytes = to_bytes(info[2]);
    return run(info, [number, offset, bytes](State& state) -> PromiseThread::Finish {
      const CUdeviceptr to = state.range(number, offset, bytes.size);
      // Memory that is not pinned has been read when the call returns.
      if (bytes.size) check(driver().cuMemcpyHtoDAsync(to, bytes.data, bytes.size, state.stream), "cuMemcpyHtoDAsync");
      return nothing;
    }, info[2]);
  });
}

Napi::Value NcclObject::read(const Napi::CallbackInfo& info) {
  const int number = info[0].ToNumber().Int32Value();
  const auto offset = static_cast<size_t>(info[1].ToNumber().Int64Value()), bytes = static_cast<size_t>(info[2].ToNumber().Int64Value());
  return run(info, [number, offset, bytes](State& state) -> PromiseThread::Finish {
    const CUdeviceptr from = state.range(number, offset, bytes);
    // A copy to memory that is not pinned would wait without a limit.
    state.synchronize();
    const auto data = std::make_shared<std::vector<std::byte>>(bytes);
    if (bytes) check(driver().cuMemcpyDtoHAsync(data->data(), from, bytes, state.stream), "cuMemcpyDtoHAsync");
    check(driver().cuStreamSynchronize(state.stream), "cuStreamSynchronize");
    return [data](Napi::Env env) -> Napi::Value { return to_array(env, DType::b8, data->data(), data->size()); };
  }, info.Env().Undefined());
}

Napi::Value NcclObject::submit(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::vector<Operation> operations;
    const auto list = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) operations.push_back(to_operation(list.Get(i).As<Napi::Object>()));
    return run(info, [operations](State& state) -> PromiseThread::Finish {
      for (const Operation& operation : operations) state.validate(operation);
      if (operations.empty()) return nothing;
      state.since = Clock::now();
      state.operation = name_of(operations.front().kind);
      state.sequence++;
      state.joined().call(state.operation.c_str(), [&](ncclComm_t comm) {
        for (const Operation& operation : operations)
          if (const ncclResult_t result = state.enqueue(operation, comm); result != ncclSuccess && result != ncclInProgress) return result;
        return ncclSuccess;
      }, [&] { state.watch(); });
      return nothing;
    }, info.Env().Undefined());
  });
}

Napi::Value NcclObject::synchronize(const Napi::CallbackInfo& info) {
  return run(info, [](State& state) -> PromiseThread::Finish {
    state.synchronize();
    return nothing;
  }, info.Env().Undefined());
}

Napi::Value NcclObject::async_error(const Napi::CallbackInfo& info) {
  return run(info, [](State& state) -> PromiseThread::Finish {
    const ncclResult_t error = state.joined().async_error();
    const std::string text = error == ncclSuccess || error == ncclInProgress ? "" : nccl().ncclGetErrorString(error);
    return [text](Napi::Env env) -> Napi::Value { return Napi::String::New(env, text); };
  }, info.Env().Undefined());
}

Napi::Value NcclObject::abort(const Napi::CallbackInfo& info) {
  if (state_) {
    const std::lock_guard lock(state_->mutex);
    if (state_->reason.empty()) state_->reason = info[0].ToString().Utf8Value();
    state_->is_aborted = true;
  }
  return info.Env().Undefined();
}

Napi::Value NcclObject::close(const Napi::CallbackInfo& info) {
  shut("the communicator was closed");
  return info.Env().Undefined();
}

}  // namespace merak
