// Measurements of the machine itself, no engine involved. Threads: those of setThreads.
#include "addon/limits.h"

#include <omp.h>  // omp_get_wtime

#include <algorithm>  // min
#include <cstring>    // memcpy

#include "addon/convert.h"     // JavaScript values
#include "engine/aligned.h"    // buffers
#include "ops/cpu/dnnl.h"      // oneDNN

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

// Seconds of the fastest of `repeat` runs, after one to warm up.
template <class Body>
double fastest(int repeat, Body body) {
  body();
  double best = 1e30;
  for (int i = 0; i < repeat; i++) {
    const double start = omp_get_wtime();
    body();
    best = std::min(best, omp_get_wtime() - start);
  }
  return best;
}

struct MatrixProduct {
  int64_t rows, inner, columns;
  Memory::data_type dtype;
  int repeat;
};

// Row-major A and C, B in the layout that oneDNN likes best; f32 result and accumulation.
double matmul_seconds(const MatrixProduct& product) {
  const auto& [rows, inner, columns, dtype, repeat] = product;
  const dnnl::engine& engine = onednn::engine();
  dnnl::stream& stream = onednn::stream();
  const MemoryDesc a({rows, inner}, dtype, Memory::format_tag::ab), b({inner, columns}, dtype, Memory::format_tag::any);
  const MemoryDesc c({rows, columns}, Memory::data_type::f32, Memory::format_tag::ab);
  const auto attributes = onednn::attributes();
  dnnl::matmul::primitive_desc description;
  try {
    description = onednn::matmul(a, b, nullptr, c, attributes);
  } catch (const dnnl::error& error) {
    throw Unsupported(std::string("oneDNN has no such matmul on this CPU: ") + error.what());
  }
  // Ones: no denormals, no special cases.
  const auto filled = [&](const MemoryDesc& desc) {
    AlignedBytes bytes = aligned_bytes(desc.get_size());
    if (dtype == Memory::data_type::f32) std::fill_n(reinterpret_cast<float*>(bytes.get()), desc.get_size() / 4, 1.0f);
    else std::fill_n(reinterpret_cast<uint16_t*>(bytes.get()), desc.get_size() / 2, uint16_t{0x3f80});
    return bytes;
  };
  const AlignedBytes a_bytes = filled(a), b_bytes = filled(description.weights_desc());
  const AlignedBytes c_bytes = aligned_bytes(c.get_size());
  const AlignedBytes scratch = aligned_bytes(description.scratchpad_desc().get_size());
  const dnnl::matmul primitive(description);
  const std::unordered_map<int, Memory> arguments = {
      {DNNL_ARG_SRC, Memory(a, engine, a_bytes.get())},
      {DNNL_ARG_WEIGHTS, Memory(description.weights_desc(), engine, b_bytes.get())},
      {DNNL_ARG_DST, Memory(c, engine, c_bytes.get())},
      {DNNL_ARG_SCRATCHPAD, Memory(description.scratchpad_desc(), engine, scratch.get())}};
  return fastest(repeat, [&] {
    primitive.execute(stream, arguments);
    stream.wait();
  });
}

// matmulSeconds({rows, inner, columns, dtype: 'f32' | 'bf16', repeat})
Napi::Value matmul(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto options = info[0].As<Napi::Object>();
    const auto size = [&](const char* name) { return static_cast<int64_t>(number_field(options, name)); };
    const bool half = text_field(options, "dtype") == "bf16";
    return Napi::Number::New(info.Env(), matmul_seconds({size("rows"), size("inner"), size("columns"),
                                                         half ? Memory::data_type::bf16 : Memory::data_type::f32,
                                                         static_cast<int>(size("repeat"))}));
  });
}

// copySeconds(bytes, repeat): memcpy of one buffer to another, each thread its part.
Napi::Value copy(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto bytes = static_cast<size_t>(info[0].ToNumber().Int64Value());
    const AlignedBytes from = aligned_bytes(bytes), to = aligned_bytes(bytes);
    auto* source = reinterpret_cast<std::byte*>(from.get());
    auto* target = reinterpret_cast<std::byte*>(to.get());
    std::memset(source, 1, bytes);
    return Napi::Number::New(info.Env(), fastest(info[1].ToNumber().Int32Value(), [&] {
#pragma omp parallel
      {
        const size_t threads = static_cast<size_t>(omp_get_num_threads()), index = static_cast<size_t>(omp_get_thread_num());
        const size_t begin = bytes * index / threads, end = bytes * (index + 1) / threads;
        std::memcpy(target + begin, source + begin, end - begin);
      }
    }));
  });
}

}  // namespace

void export_limits(Napi::Env env, Napi::Object exports) {
  exports.Set("matmulSeconds", Napi::Function::New(env, matmul));
  exports.Set("copySeconds", Napi::Function::New(env, copy));
}

}  // namespace merak
