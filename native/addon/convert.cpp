// JavaScript values to engine values and back.
#include "addon/convert.h"

#include <unistd.h>  // getpid

namespace merak {
namespace {

[[noreturn]] void wrong(const char* name, const char* expected) {
  throw EngineError("plan/invalid", std::string("field '") + name + "' must be " + expected);
}

constexpr int kMaxDepth = 8;

void flatten(const Napi::Array& list, std::vector<double>& numbers, int depth = 0) {
  if (depth > kMaxDepth) throw std::runtime_error("a list attribute is nested too deep");
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Value item = list.Get(i);
    if (item.IsArray()) flatten(item.As<Napi::Array>(), numbers, depth + 1);
    else if (item.IsNumber()) numbers.push_back(item.As<Napi::Number>().DoubleValue());
    else if (item.IsBoolean()) numbers.push_back(item.As<Napi::Boolean>().Value());
    else throw std::runtime_error("a list attribute may hold numbers or strings only");
  }
}

Attr to_attr(const Napi::Value& value) {
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (value.IsArray()) {
    const auto list = value.As<Napi::Array>();
    if (list.Length() && list.Get(0u).IsString()) {
      std::vector<std::string> texts;
      for (uint32_t i = 0; i < list.Length(); i++) texts.push_back(list.Get(i).ToString().Utf8Value());
      return texts;
    }
    std::vector<double> numbers;
    flatten(list, numbers);
    return numbers;
  }
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    std::vector<double> numbers;
    for (size_t i = 0; i < array.ElementLength(); i++)
      numbers.push_back(value.As<Napi::Object>().Get(static_cast<uint32_t>(i)).ToNumber().DoubleValue());
    return numbers;
  }
  return std::monostate{};
}

DType to_dtype(const std::string& name) {
  if (name == "float32") return DType::f32;
  if (name == "int32") return DType::i32;
  if (name == "bool") return DType::b8;
  if (name == "bfloat16") return DType::bf16;
  if (name == "int8") return DType::i8;
  if (name == "float16") return DType::f16;
  throw Unsupported("dtype " + name);
}

std::vector<TensorType> to_tensor_types(const Napi::Array& list) {
  std::vector<TensorType> types;
  for (uint32_t i = 0; i < list.Length(); i++) types.push_back(to_tensor_type(list.Get(i).As<Napi::Object>()));
  return types;
}

}  // namespace

Napi::Value field(const Napi::Object& object, const char* name) { return object.Get(name); }

Napi::Object object_field(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsObject()) wrong(name, "an object");
  return value.As<Napi::Object>();
}

Napi::Array array_field(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsArray()) wrong(name, "an array");
  return value.As<Napi::Array>();
}

std::string text_field(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString()) wrong(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

double number_field(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber()) wrong(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool flag_field(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean()) wrong(name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

Shape shape_field(const Napi::Object& object, const char* name) {
  const Napi::Array list = array_field(object, name);
  Shape shape;
  for (uint32_t i = 0; i < list.Length(); i++) shape.push_back(list.Get(i).ToNumber().Int64Value());
  return shape;
}

DType dtype_field(const Napi::Object& object, const char* name) { return to_dtype(text_field(object, name)); }

TensorType to_tensor_type(const Napi::Object& object) {
  return {dtype_field(object, "dtype"), shape_field(object, "shape")};
}

Attrs to_attrs(const Napi::Object& object) {
  Attrs attrs;
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).ToString().Utf8Value();
    attrs.values[name] = to_attr(object.Get(name));
  }
  return attrs;
}

NodeSpec to_node_spec(const Napi::Object& object) {
  NodeSpec spec;
  spec.kernel = text_field(object, "kernel");
  spec.scope = object.Get("scope").IsString() ? text_field(object, "scope") : "";
  spec.inputs = to_tensor_types(array_field(object, "inputs"));
  spec.outputs = to_tensor_types(array_field(object, "outputs"));
  const Napi::Array names = array_field(object, "inputNames");
  for (uint32_t i = 0; i < names.Length(); i++) spec.input_names.push_back(names.Get(i).ToString().Utf8Value());
  spec.attrs = to_attrs(object_field(object, "attrs"));
  return spec;
}

Bytes to_bytes(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw std::runtime_error("data must be a Float32Array, Int32Array, Int8Array or Uint8Array");
  const auto array = value.As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

Napi::TypedArray new_array(Napi::Env env, DType dtype, size_t numel, Bytes& bytes) {
  Napi::TypedArray array;
  if (dtype == DType::f32) array = Napi::Float32Array::New(env, numel);
  else if (dtype == DType::i32) array = Napi::Int32Array::New(env, numel);
  else if (is_half(dtype)) array = Napi::Uint16Array::New(env, numel);
  else if (dtype == DType::i8) array = Napi::Int8Array::New(env, numel);
  else array = Napi::Uint8Array::New(env, numel);
  bytes = to_bytes(array);
  return array;
}

Napi::TypedArray to_array(Napi::Env env, DType dtype, const void* data, size_t bytes) {
  Bytes target;
  const Napi::TypedArray array = new_array(env, dtype, bytes / size_of(dtype), target);
  if (bytes) std::memcpy(target.data, data, bytes);
  return array;
}

std::vector<PeerHandle> to_peer_handles(const Napi::Value& value) {
  if (!value.IsArray()) throw std::runtime_error("handles must be an array");
  const auto list = value.As<Napi::Array>();
  std::vector<PeerHandle> peers;
  for (uint32_t i = 0; i < list.Length(); i++) {
    const auto handle = list.Get(i).As<Napi::Object>();
    peers.push_back({static_cast<int>(number_field(handle, "rank")), text_field(handle, "arena"),
                     static_cast<int>(number_field(handle, "pid")), static_cast<int>(number_field(handle, "fd")),
                     static_cast<size_t>(number_field(handle, "bytes"))});
  }
  return peers;
}

Napi::Object to_handle(Napi::Env env, const std::string& arena, int fd, size_t bytes) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("arena", arena);
  object.Set("pid", static_cast<double>(getpid()));
  object.Set("fd", fd);
  object.Set("bytes", static_cast<double>(bytes));
  return object;
}

Napi::Error to_error(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

}  // namespace merak
