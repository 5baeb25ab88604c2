// A stand-in for cuBLASLt on the CPU: plain loops in float32, with the epilogues that Merak uses, on the streams of the stand-in libcuda.
// Operands are column major, as cublasLt.h says, unless a layout's order is row.
#include <cmath>    // tanh
#include <cstdint>  // fixed-width integers
#include <cstring>  // memcpy
#include <vector>   // unpacked operands

#include "libcuda.h"  // enqueue
#include "numbers.h"  // 16 bits
#include "version.h"  // version_setting

namespace {

using namespace merak_standin;

enum : int { kSuccess = 0, kInvalidValue = 7, kNotSupported = 15 };
enum : int { kF32 = 0, kF16 = 2, kBf16 = 14 };
enum : int { kComputeF32 = 68, kComputeTf32 = 77 };
enum : unsigned { kBias = 4, kGelu = 32, kDgelu = 64, kAux = 128, kBgradWithDgelu = 16, kBgradA = 256, kBgradB = 512 };

struct Desc {
  int compute, scale, trans_a = 0, trans_b = 0, pointer_mode = 0;
  unsigned epilogue = 1;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_ld = 0, aux_stride = 0, bias_stride = 0;
  int aux_type = -1, bias_type = -1;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t ld, stride = 0;
  int batch = 1, order = 0;

  size_t at(uint64_t row, uint64_t column) const {
    return order == 0 ? row + column * static_cast<size_t>(ld) : row * static_cast<size_t>(ld) + column;
  }
  bool is_valid() const { return ld >= static_cast<int64_t>(order == 0 ? rows : columns); }
};
struct Preference {
  uint64_t workspace = 0;
};
struct Algorithm {
  uint64_t data[8];
};
struct Result {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

float load(const void* data, int type, size_t i) {
  if (type == kF32) return static_cast<const float*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  return type == kBf16 ? from_bf16(half) : from_f16(half);
}
void store(void* data, int type, size_t i, float x) {
  if (type == kF32) static_cast<float*>(data)[i] = x;
  else static_cast<uint16_t*>(data)[i] = type == kBf16 ? to_bf16(x) : to_f16(x);
}
size_t size_of(int type) { return type == kF32 ? 4 : 2; }
void* shifted(const void* data, int64_t elements, int type) {
  return const_cast<char*>(static_cast<const char*>(data)) + elements * static_cast<int64_t>(size_of(type));
}

// gelu by tanh, which is what cuBLASLt computes.
float gelu(float x) { return 0.5f * x * (1.0f + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x))); }
float gelu_slope(float x) {
  const float t = std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608028654f * (1.0f + 3.0f * 0.044715f * x * x);
}

bool is_type(int type) { return type == kF32 || type == kF16 || type == kBf16; }

bool is_supported(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  if (!is_type(a.type) || a.type != b.type || !is_type(c.type) || c.type != d.type) return false;
  if (a.type != kF32 && c.type != kF32 && a.type != c.type) return false;
  if (a.type == kF32 && c.type != kF32) return false;
  if (desc.pointer_mode != 0 || desc.scale != 0) return false;
  if (desc.compute != kComputeF32 && !(desc.compute == kComputeTf32 && a.type == kF32)) return false;
  switch (desc.epilogue) {
    case 1: case kBias: case kGelu: case kGelu | kBias: case kBgradA: case kBgradB: break;
    // With an auxiliary matrix cublasLt wants its rows aligned.
    case kGelu | kAux: case kGelu | kAux | kBias: case kDgelu | kAux: case kDgelu | kAux | kBgradWithDgelu:
      if (desc.aux_ld % 8 != 0 || desc.aux_ld < static_cast<int64_t>(d.order == 0 ? d.rows : d.columns)) return false;
      break;
    default: return false;
  }
  // Epilogues with vectors exist for column order only.
  if (desc.epilogue != 1 && d.order != 0) return false;
  return true;
}

bool fits(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const uint64_t m = desc.trans_a ? a.columns : a.rows, k = desc.trans_a ? a.rows : a.columns;
  const uint64_t n = desc.trans_b ? b.rows : b.columns, k_b = desc.trans_b ? b.columns : b.rows;
  return k == k_b && d.rows == m && d.columns == n && c.rows == m && c.columns == n && a.is_valid() && b.is_valid() && c.is_valid() &&
         d.is_valid() && a.batch == d.batch && b.batch == d.batch;
}

struct Call {
  Desc desc;
  float alpha, beta;
  const void *a, *b, *c;
  void* d;
  Layout la, lb, lc, ld;
};

void multiply(const Call& call, int64_t index) {
  const Desc& desc = call.desc;
  const uint64_t m = call.ld.rows, n = call.ld.columns, k = desc.trans_a ? call.la.rows : call.la.columns;
  const void* a = shifted(call.a, index * call.la.stride, call.la.type);
  const void* b = shifted(call.b, index * call.lb.stride, call.lb.type);
  const void* c = call.c ? shifted(call.c, index * call.lc.stride, call.lc.type) : nullptr;
  void* d = shifted(call.d, index * call.ld.stride, call.ld.type);
  const int vector_type = desc.bias_type >= 0 ? desc.bias_type : call.ld.type, aux_type = desc.aux_type >= 0 ? desc.aux_type : call.ld.type;
  void* bias = desc.bias ? shifted(desc.bias, index * desc.bias_stride, vector_type) : nullptr;
  void* aux = desc.aux ? shifted(desc.aux, index * desc.aux_stride, aux_type) : nullptr;

  const auto rounded = [&](float x) { return desc.compute == kComputeTf32 ? to_tf32(x) : x; };
  std::vector<float> left(m * k), sums(m);
  for (uint64_t l = 0; l < k; l++)
    for (uint64_t i = 0; i < m; i++) left[l * m + i] = rounded(load(a, call.la.type, desc.trans_a ? call.la.at(l, i) : call.la.at(i, l)));
  std::vector<float> bias_gradient(desc.epilogue == (kDgelu | kAux | kBgradWithDgelu) ? m : 0, 0.0f);
  for (uint64_t j = 0; j < n; j++) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (uint64_t l = 0; l < k; l++) {
      const float x = rounded(load(b, call.lb.type, desc.trans_b ? call.lb.at(j, l) : call.lb.at(l, j)));
      const float* column = left.data() + l * m;
      for (uint64_t i = 0; i < m; i++) sums[i] += column[i] * x;
    }
    for (uint64_t i = 0; i < m; i++) {
      float x = call.alpha * sums[i];
      if (call.beta != 0) x += call.beta * load(c, call.lc.type, call.lc.at(i, j));
      if (desc.epilogue & kDgelu) {
        x *= gelu_slope(load(aux, aux_type, i + j * static_cast<size_t>(desc.aux_ld)));
        if (!bias_gradient.empty()) bias_gradient[i] += x;
      } else if (desc.epilogue != kBgradA && desc.epilogue != kBgradB) {
        if (desc.epilogue & kBias) x += load(bias, vector_type, i);
        if (desc.epilogue & kAux) store(aux, aux_type, i + j * static_cast<size_t>(desc.aux_ld), x);
        if (desc.epilogue & kGelu) x = gelu(x);
      }
      store(d, call.ld.type, call.ld.at(i, j), x);
    }
  }
  for (size_t i = 0; i < bias_gradient.size(); i++) store(bias, vector_type, i, bias_gradient[i]);
  // The sums of an operand over k: of A's rows, or of B's columns.
  if (desc.epilogue == kBgradA)
    for (uint64_t i = 0; i < m; i++) {
      float sum = 0;
      for (uint64_t l = 0; l < k; l++) sum += left[l * m + i];
      store(bias, vector_type, i, sum);
    }
  if (desc.epilogue == kBgradB)
    for (uint64_t j = 0; j < n; j++) {
      float sum = 0;
      for (uint64_t l = 0; l < k; l++) sum += load(b, call.lb.type, desc.trans_b ? call.lb.at(j, l) : call.lb.at(l, j));
      store(bias, vector_type, j, sum);
    }
}

template <class T>
int set(T& member, const void* value, size_t bytes) {
  if (bytes != sizeof(T)) return kInvalidValue;
  std::memcpy(&member, value, bytes);
  return kSuccess;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT size_t cublasLtGetVersion() { return static_cast<size_t>(merak_standin::version_setting("CUBLASLT", 130001)); }
EXPORT const char* cublasLtGetStatusString(int status) {
  return status == kSuccess ? "CUBLAS_STATUS_SUCCESS" : status == kNotSupported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}
EXPORT int cublasLtCreate(void** handle) {
  *handle = new char;
  return kSuccess;
}
EXPORT int cublasLtDestroy(void* handle) {
  delete static_cast<char*>(handle);
  return kSuccess;
}
EXPORT int cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  *desc = new Desc{compute, scale};
  return kSuccess;
}
EXPORT int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<Desc*>(desc);
  return kSuccess;
}
EXPORT int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  auto& desc = *static_cast<Desc*>(handle);
  switch (attribute) {
    case 0: return set(desc.compute, value, bytes);
    case 1: return set(desc.scale, value, bytes);
    case 2: return set(desc.pointer_mode, value, bytes);
    case 3: return set(desc.trans_a, value, bytes);
    case 4: return set(desc.trans_b, value, bytes);
    case 7: return set(desc.epilogue, value, bytes);
    case 8: return set(desc.bias, value, bytes);
    case 10: return set(desc.bias_stride, value, bytes);
    case 11: return set(desc.aux, value, bytes);
    case 12: return set(desc.aux_ld, value, bytes);
    case 13: return set(desc.aux_stride, value, bytes);
    case 22: return set(desc.aux_type, value, bytes);
    case 26: return set(desc.bias_type, value, bytes);
    default: return kInvalidValue;
  }
}
EXPORT int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  *layout = new Layout{type, rows, columns, ld};
  return kSuccess;
}
EXPORT int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return kSuccess;
}
EXPORT int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  auto& layout = *static_cast<Layout*>(handle);
  switch (attribute) {
    case 0: return set(layout.type, value, bytes);
    case 1: return set(layout.order, value, bytes);
    case 2: return set(layout.rows, value, bytes);
    case 3: return set(layout.columns, value, bytes);
    case 4: return set(layout.ld, value, bytes);
    case 5: return set(layout.batch, value, bytes);
    case 6: return set(layout.stride, value, bytes);
    default: return kInvalidValue;
  }
}
EXPORT int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kSuccess;
}
EXPORT int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kSuccess;
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  if (attribute == 1) return set(static_cast<Preference*>(handle)->workspace, value, bytes);
  uint32_t alignment;
  return attribute >= 5 && attribute <= 8 ? set(alignment, value, bytes) : kInvalidValue;
}
EXPORT int cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preference, int wanted, Result* results,
                                          int* found) {
  *found = 0;
  const auto &la = *static_cast<Layout*>(a), &lb = *static_cast<Layout*>(b), &lc = *static_cast<Layout*>(c), &ld = *static_cast<Layout*>(d);
  if (wanted < 1 || !preference || !fits(*static_cast<Desc*>(desc), la, lb, lc, ld)) return kInvalidValue;
  if (!is_supported(*static_cast<Desc*>(desc), la, lb, lc, ld)) return kNotSupported;
  results[0] = Result{};
  *found = 1;
  return kSuccess;
}
EXPORT int cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* la, const void* b, void* lb, const void* beta, const void* c,
                          void* lc, void* d, void* ld, const Algorithm*, void*, size_t, void* stream) {
  Call call{*static_cast<Desc*>(desc), *static_cast<const float*>(alpha), *static_cast<const float*>(beta), a, b, c, d, *static_cast<Layout*>(la),
            *static_cast<Layout*>(lb), *static_cast<Layout*>(lc), *static_cast<Layout*>(ld)};
  if (!fits(call.desc, call.la, call.lb, call.lc, call.ld)) return kInvalidValue;
  if (!is_supported(call.desc, call.la, call.lb, call.lc, call.ld)) return kNotSupported;
  if ((call.desc.epilogue & (kBias | kBgradA | kBgradB) || call.desc.epilogue == (kDgelu | kAux | kBgradWithDgelu)) && !call.desc.bias)
    return kInvalidValue;
  if (call.desc.epilogue & kAux && !call.desc.aux) return kInvalidValue;
  const auto start = [call]() -> merak_standin::Poll {
    return [call] {
      for (int64_t i = 0; i < call.ld.batch; i++) multiply(call, i);
      return true;
    };
  };
  return merak_standin::enqueue(stream, start) == 0 ? kSuccess : 13;
}
