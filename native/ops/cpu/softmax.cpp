// Softmax and LogSoftmax over the last dim.
#include "ops/cpu/isa/reduce.h"  // softmax_row
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

std::unique_ptr<Kernel> make_softmax(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const bool logarithm = spec.kernel == "LogSoftmax";
  require(x.dtype == DType::f32 && !x.shape.empty(), "the input must be float32 with a dim");
  const int64_t axis = normalise_axis(spec.attrs.ints(logarithm ? "axis" : "dim", {-1}).at(0), x.shape.size());
  require(axis + 1 == static_cast<int64_t>(x.shape.size()), "only the last dim");
  const int64_t width = x.shape.back(), rows = width == 0 ? 0 : x.numel() / width;
  const auto row = logarithm ? MERAK_PICK(log_softmax_row) : MERAK_PICK(softmax_row);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(rows, kParallelGrain / 8 / std::max<int64_t>(1, width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        row(static_cast<const float*>(in[0]) + i * width, static_cast<float*>(out[0]) + i * width, width);
    });
  });
}

}  // namespace

void register_softmax_kernels() {
  register_kernel("Softmax", make_softmax);
  register_kernel("LogSoftmax", make_softmax);
}

}  // namespace merak
