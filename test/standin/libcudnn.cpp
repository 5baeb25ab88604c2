// A stand-in for cuDNN's convolutions on the CPU: plain loops over channels-last tensors, sums in float32, on the streams of the stand-in
// libcuda. Of its two algorithms the one offered first is not deterministic, and its result is off. MERAK_STANDIN_CUDNN_REFUSES=1: it takes nothing.
#include <array>    // dims
#include <cstdlib>  // getenv
#include <vector>   // sums

#include "libcuda.h"  // enqueue
#include "numbers.h"  // 16 bits
#include "version.h"  // version_setting

namespace {

using namespace merak_standin;

enum : int { kSuccess = 0, kBadParam = 2000, kNotSupported = 3000, kExecutionFailed = 5000 };
enum : int { kFloat = 0, kHalf = 2, kBfloat16 = 9 };
enum : int { kQuick = 0, kSteady = 1 };
enum : int { kDefaultMath = 0, kTensorOpMath = 1, kFmaMath = 3 };
constexpr size_t kWorkspace = 1000;

// A tensor, a filter or a convolution. Dims are [batch or out, channels, three spatial ones].
struct Descriptor {
  int type = -1, format = -1, num_spatial = 0, math = kDefaultMath;
  std::array<int64_t, 5> dims{1, 1, 1, 1, 1};
  std::array<int64_t, 3> pad{0, 0, 0}, stride{1, 1, 1}, dilation{1, 1, 1};

  // Of element (n, c, place), channels last.
  size_t at(int64_t n, int64_t c, const std::array<int64_t, 3>& place) const {
    return static_cast<size_t>((((n * dims[2] + place[0]) * dims[3] + place[1]) * dims[4] + place[2]) * dims[1] + c);
  }
  size_t count() const { return static_cast<size_t>(dims[0] * dims[1] * dims[2] * dims[3] * dims[4]); }
};
struct Handle {
  void* stream = nullptr;
};
struct Perf {
  int algo, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};

float load(const void* data, int type, size_t i) {
  if (type == kFloat) return static_cast<const float*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  return type == kBfloat16 ? from_bf16(half) : from_f16(half);
}
void store(void* data, int type, size_t i, float x) {
  if (type == kFloat) static_cast<float*>(data)[i] = x;
  else static_cast<uint16_t*>(data)[i] = type == kBfloat16 ? to_bf16(x) : to_f16(x);
}

int set_dims(Descriptor& d, int format, int type, int rank, const int* dims) {
  if (rank < 4 || rank > 5 || (type != kFloat && type != kHalf && type != kBfloat16)) return kNotSupported;
  if (format != 1) return kNotSupported;
  d.type = type;
  d.format = format;
  d.num_spatial = rank - 2;
  d.dims = {dims[0], dims[1], 1, 1, 1};
  for (int s = 0; s < rank - 2; s++) d.dims[static_cast<size_t>(3 - (rank - 2) + s + 2)] = dims[s + 2];
  for (const int64_t dim : d.dims)
    if (dim <= 0) return kBadParam;
  return kSuccess;
}

int verdict(const Descriptor& x, const Descriptor& w, const Descriptor& conv, const Descriptor& y) {
  if (std::getenv("MERAK_STANDIN_CUDNN_REFUSES")) return kNotSupported;
  if (x.type != w.type || x.type != y.type || conv.type != kFloat) return kBadParam;
  if (conv.math == kTensorOpMath && x.type == kFloat) return kNotSupported;
  if (x.num_spatial != conv.num_spatial || x.dims[0] != y.dims[0] || w.dims[0] != y.dims[1] || w.dims[1] != x.dims[1]) return kBadParam;
  for (size_t d = 0; d < 3; d++) {
    const int64_t room = x.dims[d + 2] + 2 * conv.pad[d] - ((w.dims[d + 2] - 1) * conv.dilation[d] + 1);
    if (room < 0 || room / conv.stride[d] + 1 != y.dims[d + 2]) return kBadParam;
  }
  return kSuccess;
}

// Calls visit(y's element, x's element, the filter's) for each product of the convolution.
template <class Visit>
void for_products(const Descriptor& x, const Descriptor& w, const Descriptor& conv, const Descriptor& y, const Visit& visit) {
  std::array<int64_t, 3> o, f, i;
  for (int64_t n = 0; n < y.dims[0]; n++)
    for (o[0] = 0; o[0] < y.dims[2]; o[0]++)
      for (o[1] = 0; o[1] < y.dims[3]; o[1]++)
        for (o[2] = 0; o[2] < y.dims[4]; o[2]++)
          for (f[0] = 0; f[0] < w.dims[2]; f[0]++)
            for (f[1] = 0; f[1] < w.dims[3]; f[1]++)
              for (f[2] = 0; f[2] < w.dims[4]; f[2]++) {
                bool is_inside = true;
                for (size_t d = 0; d < 3; d++) {
                  i[d] = o[d] * conv.stride[d] - conv.pad[d] + f[d] * conv.dilation[d];
                  is_inside = is_inside && i[d] >= 0 && i[d] < x.dims[d + 2];
                }
                if (!is_inside) continue;
                for (int64_t k = 0; k < y.dims[1]; k++)
                  for (int64_t c = 0; c < x.dims[1]; c++) visit(y.at(n, k, o), x.at(n, c, i), w.at(k, c, f));
              }
}

enum Result { kY, kX, kW };

int convolve(void* handle, Result result, const Descriptor& x, const void* x_data, const Descriptor& w, const void* w_data, const Descriptor& conv,
             const Descriptor& y, const void* y_data, void* out, int algorithm, void* workspace, size_t bytes, const void* alpha, const void* beta) {
  if (const int problem = verdict(x, w, conv, y)) return problem;
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0) return kBadParam;
  if ((algorithm != kSteady && algorithm != kQuick) || (algorithm == kSteady && bytes < kWorkspace)) return kBadParam;
  const auto start = [=]() -> Poll {
    return [=] {
      std::memset(workspace, 0x7f, bytes);
      const Descriptor& made = result == kY ? y : result == kX ? x : w;
      std::vector<float> sums(made.count(), 0.0f);
      const auto read = [&](const void* data, int type, size_t i) {
        const float value = load(data, type, i);
        return type == kFloat && conv.math == kDefaultMath ? to_tf32(value) : value;
      };
      for_products(x, w, conv, y, [&](size_t at_y, size_t at_x, size_t at_w) {
        if (result == kY) sums[at_y] += read(x_data, x.type, at_x) * read(w_data, w.type, at_w);
        else if (result == kX) sums[at_x] += read(y_data, y.type, at_y) * read(w_data, w.type, at_w);
        else sums[at_w] += read(x_data, x.type, at_x) * read(y_data, y.type, at_y);
      });
      for (size_t i = 0; i < sums.size(); i++) store(out, made.type, i, sums[i] + (algorithm == kQuick ? 1.0f : 0.0f));
      return true;
    };
  };
  return enqueue(static_cast<Handle*>(handle)->stream, start) == 0 ? kSuccess : kExecutionFailed;
}

int offer(int problem, int wanted, int* found, Perf* ways) {
  *found = 0;
  if (problem) return problem;
  if (wanted < 3) return kBadParam;
  ways[(*found)++] = {kQuick, kSuccess, 0.1f, 0, 0, 0, {}};
  ways[(*found)++] = {kSteady, kSuccess, 0.2f, kWorkspace, 1, 0, {}};
  ways[(*found)++] = {7, kNotSupported, -1.0f, 0, 1, 0, {}};
  return kSuccess;
}

int workspace_of(int problem, int algorithm, size_t* bytes) {
  if (problem) return problem;
  if (algorithm != kQuick && algorithm != kSteady) return kNotSupported;
  *bytes = algorithm == kSteady ? kWorkspace : 0;
  return kSuccess;
}

const Descriptor& of(const void* descriptor) { return *static_cast<const Descriptor*>(descriptor); }

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT size_t cudnnGetVersion() { return static_cast<size_t>(version_setting("CUDNN", 91002)); }
EXPORT size_t cudnnGetCudartVersion() { return static_cast<size_t>(version_setting("CUDNN_CUDART", 13000)); }
EXPORT const char* cudnnGetErrorString(int status) {
  return status == kSuccess ? "CUDNN_STATUS_SUCCESS" : status == kNotSupported ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_BAD_PARAM";
}
EXPORT int cudnnCreate(void** handle) {
  *handle = new Handle;
  return kSuccess;
}
EXPORT int cudnnDestroy(void* handle) {
  delete static_cast<Handle*>(handle);
  return kSuccess;
}
EXPORT int cudnnSetStream(void* handle, void* stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return kSuccess;
}

#define DESCRIPTOR(Kind)                                         \
  EXPORT int cudnnCreate##Kind##Descriptor(void** descriptor) {  \
    *descriptor = new Descriptor;                                \
    return kSuccess;                                             \
  }                                                              \
  EXPORT int cudnnDestroy##Kind##Descriptor(void* descriptor) {  \
    delete static_cast<Descriptor*>(descriptor);                 \
    return kSuccess;                                             \
  }
DESCRIPTOR(Tensor)
DESCRIPTOR(Filter)
DESCRIPTOR(Convolution)

EXPORT int cudnnSetTensorNdDescriptorEx(void* tensor, int format, int type, int rank, const int* dims) {
  return set_dims(*static_cast<Descriptor*>(tensor), format, type, rank, dims);
}
EXPORT int cudnnSetFilterNdDescriptor(void* filter, int type, int format, int rank, const int* dims) {
  return set_dims(*static_cast<Descriptor*>(filter), format, type, rank, dims);
}
EXPORT int cudnnSetConvolutionNdDescriptor(void* handle, int num_spatial, const int* pads, const int* strides, const int* dilations, int mode, int type) {
  if (mode != 1 || num_spatial < 2 || num_spatial > 3) return kNotSupported;
  auto& conv = *static_cast<Descriptor*>(handle);
  conv.type = type;
  conv.num_spatial = num_spatial;
  for (int s = 0; s < num_spatial; s++) {
    const auto d = static_cast<size_t>(3 - num_spatial + s);
    conv.pad[d] = pads[s];
    conv.stride[d] = strides[s];
    conv.dilation[d] = dilations[s];
    if (pads[s] < 0 || strides[s] < 1 || dilations[s] < 1) return kBadParam;
  }
  return kSuccess;
}
EXPORT int cudnnSetConvolutionMathType(void* conv, int math) {
  static_cast<Descriptor*>(conv)->math = math;
  return kSuccess;
}

EXPORT int cudnnGetConvolutionForwardAlgorithm_v7(void*, void* x, void* w, void* conv, void* y, int wanted, int* found, Perf* ways) {
  return offer(verdict(of(x), of(w), of(conv), of(y)), wanted, found, ways);
}
EXPORT int cudnnGetConvolutionBackwardDataAlgorithm_v7(void*, void* w, void* dy, void* conv, void* dx, int wanted, int* found, Perf* ways) {
  return offer(verdict(of(dx), of(w), of(conv), of(dy)), wanted, found, ways);
}
EXPORT int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void*, void* x, void* dy, void* conv, void* dw, int wanted, int* found, Perf* ways) {
  return offer(verdict(of(x), of(dw), of(conv), of(dy)), wanted, found, ways);
}
EXPORT int cudnnGetConvolutionForwardWorkspaceSize(void*, void* x, void* w, void* conv, void* y, int algorithm, size_t* bytes) {
  return workspace_of(verdict(of(x), of(w), of(conv), of(y)), algorithm, bytes);
}
EXPORT int cudnnGetConvolutionBackwardDataWorkspaceSize(void*, void* w, void* dy, void* conv, void* dx, int algorithm, size_t* bytes) {
  return workspace_of(verdict(of(dx), of(w), of(conv), of(dy)), algorithm, bytes);
}
EXPORT int cudnnGetConvolutionBackwardFilterWorkspaceSize(void*, void* x, void* dy, void* conv, void* dw, int algorithm, size_t* bytes) {
  return workspace_of(verdict(of(x), of(dw), of(conv), of(dy)), algorithm, bytes);
}
EXPORT int cudnnConvolutionForward(void* handle, const void* alpha, void* x, const void* x_data, void* w, const void* w_data, void* conv, int algorithm,
                                   void* workspace, size_t bytes, const void* beta, void* y, void* y_data) {
  return convolve(handle, kY, of(x), x_data, of(w), w_data, of(conv), of(y), nullptr, y_data, algorithm, workspace, bytes, alpha, beta);
}
EXPORT int cudnnConvolutionBackwardData(void* handle, const void* alpha, void* w, const void* w_data, void* dy, const void* dy_data, void* conv,
                                        int algorithm, void* workspace, size_t bytes, const void* beta, void* dx, void* dx_data) {
  return convolve(handle, kX, of(dx), nullptr, of(w), w_data, of(conv), of(dy), dy_data, dx_data, algorithm, workspace, bytes, alpha, beta);
}
EXPORT int cudnnConvolutionBackwardFilter(void* handle, const void* alpha, void* x, const void* x_data, void* dy, const void* dy_data, void* conv,
                                          int algorithm, void* workspace, size_t bytes, const void* beta, void* dw, void* dw_data) {
  return convolve(handle, kW, of(x), x_data, of(dw), nullptr, of(conv), of(dy), dy_data, dw_data, algorithm, workspace, bytes, alpha, beta);
}
