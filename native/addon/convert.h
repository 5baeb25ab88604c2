// JavaScript values to engine values and back.
#pragma once
#include <napi.h>  // Node-API

#include "engine/kernel.h"  // NodeSpec

namespace merak {

// Required fields of a JavaScript object; a missing field or wrong type throws std::runtime_error naming it.
Napi::Value field(const Napi::Object& object, const char* name);
Napi::Object object_field(const Napi::Object& object, const char* name);
Napi::Array array_field(const Napi::Object& object, const char* name);
std::string text_field(const Napi::Object& object, const char* name);
double number_field(const Napi::Object& object, const char* name);
bool flag_field(const Napi::Object& object, const char* name);
Shape shape_field(const Napi::Object& object, const char* name);
DType dtype_field(const Napi::Object& object, const char* name);

// {shape, dtype}
TensorType to_tensor_type(const Napi::Object& object);
// Nested lists of numbers (explicit padding) are flattened.
Attrs to_attrs(const Napi::Object& object);
// {kernel, inputs: [{shape, dtype}], inputNames, outputs, attrs, scope}
NodeSpec to_node_spec(const Napi::Object& object);

struct Bytes {
  uint8_t* data;
  size_t size;
};
// The memory of a typed array (not copied).
Bytes to_bytes(const Napi::Value& value);
// A fresh Float32Array, Int32Array or Uint8Array of `numel` elements; its memory is in `bytes`.
Napi::TypedArray new_array(Napi::Env env, DType dtype, size_t numel, Bytes& bytes);

// The same filled with `bytes` bytes of `data`.
Napi::TypedArray to_array(Napi::Env env, DType dtype, const void* data, size_t bytes);

// A peer's arena: where another process can map it.
struct PeerHandle {
  int rank;
  std::string arena;
  int pid, fd;
  size_t bytes;
};
// [{rank, arena, pid, fd, bytes}]
std::vector<PeerHandle> to_peer_handles(const Napi::Value& list);
// {arena, pid, fd, bytes} of an arena of this process
Napi::Object to_handle(Napi::Env env, const std::string& arena, int fd, size_t bytes);

// A JavaScript Error whose `code` is a Merak error code.
Napi::Error to_error(Napi::Env env, const std::string& code, const std::string& message);
// Runs `body`, turning C++ exceptions into such errors.
template <class Body>
auto guarded(Napi::Env env, Body body) -> decltype(body());

}  // namespace merak

#include "addon/guarded.inl"
