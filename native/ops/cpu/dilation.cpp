// Morphological dilation, max over the window of x + filter, with its gradients.
#include <cstring>  // memset

#include "ops/cpu/parallel.h"
#include "ops/cpu/window.h"

namespace merak {
namespace {

// What tfjs starts the maximum from.
constexpr double kLowest = -9007199254740991.0;

Window dilation_window(const NodeSpec& spec, const Shape& in, const Shape& out, const Shape& filter) {
  require(filter.size() == 3, "the filter must be [height, width, channels]");
  return window_of(spec, in, out, {filter[0], filter[1]});
}

// The largest x + filter under an output pixel and channel, and where it was (-1: nowhere).
struct Best {
  double value = kLowest;
  int64_t pixel = -1, tap = -1;
};

Best best_of(const Window& w, const float* x, const float* filter, int64_t o1, int64_t o2, int64_t channel) {
  Best best;
  for_taps(w, 0, o1, o2, [&](int64_t, int64_t f1, int64_t f2, int64_t pixel) {
    const int64_t tap = f1 * w.filter[2] + f2;
    const double value = static_cast<double>(x[pixel * w.channels + channel]) + filter[tap * w.channels + channel];
    if (value > best.value) best = {value, pixel, tap};
  });
  return best;
}

template <class Visit>
void for_outputs(const Window& w, const float* x, const float* filter, const Visit& visit) {
  for (int64_t batch = 0; batch < w.batch; batch++)
    for (int64_t o1 = 0; o1 < w.out[1]; o1++)
      for (int64_t o2 = 0; o2 < w.out[2]; o2++)
        for (int64_t c = 0; c < w.channels; c++)
          visit(batch, ((batch * w.out[1] + o1) * w.out[2] + o2) * w.channels + c, c,
                best_of(w, x + batch * w.in_pixels() * w.channels, filter, o1, o2, c));
}

std::unique_ptr<Kernel> make_dilation(const NodeSpec& spec) {
  const size_t x = input_index(spec, "x"), filter = input_index(spec, "filter");
  require(spec.inputs[x].dtype == DType::f32, "the input must be float32");
  const Window w = dilation_window(spec, spec.inputs[x].shape, spec.outputs.at(0).shape, spec.inputs[filter].shape);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    for_outputs(w, static_cast<const float*>(in[x]), static_cast<const float*>(in[filter]),
                [&](int64_t, int64_t index, int64_t, const Best& best) {
                  static_cast<float*>(out[0])[index] = static_cast<float>(best.value);
                });
  });
}

std::unique_ptr<Kernel> make_dilation_grad(const NodeSpec& spec) {
  const size_t x = input_index(spec, "x"), filter = input_index(spec, "filter"), dy = input_index(spec, "dy");
  require(spec.inputs[x].dtype == DType::f32, "the input must be float32");
  const Window w = dilation_window(spec, spec.inputs[x].shape, spec.inputs[dy].shape, spec.inputs[filter].shape);
  const bool wants_input = spec.kernel == "Dilation2DBackpropInput";
  const size_t bytes = spec.outputs.at(0).bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    float* gradient = static_cast<float*>(out[0]);
    for_outputs(w, static_cast<const float*>(in[x]), static_cast<const float*>(in[filter]),
                [&](int64_t batch, int64_t index, int64_t c, const Best& best) {
                  if (best.pixel < 0) return;
                  const int64_t at = wants_input ? batch * w.in_pixels() + best.pixel : best.tap;
                  gradient[at * w.channels + c] += static_cast<const float*>(in[dy])[index];
                });
  });
}

}  // namespace

void register_dilation_kernels() {
  register_kernel("Dilation2D", make_dilation);
  register_kernel("Dilation2DBackpropInput", make_dilation_grad);
  register_kernel("Dilation2DBackpropFilter", make_dilation_grad);
}

}  // namespace merak
