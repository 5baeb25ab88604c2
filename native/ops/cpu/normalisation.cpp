// FusedBatchNorm, and local response normalisation with its gradient.
#include <cmath>    // std::pow, std::sqrt
#include <cstring>  // memset

#include "ops/cpu/isa/reduce.h"  // scale_shift
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

// Elements of one call of scale_shift: short channel vectors are repeated up to about this length.
constexpr int64_t kRun = 1024;

// y = offset + (x - mean) * scale / sqrt(variance + epsilon), the parameters repeating along x: usually one per channel.
std::unique_ptr<Kernel> make_batch_norm(const NodeSpec& spec) {
  const size_t x = input_index(spec, "x"), mean = input_index(spec, "mean"), variance = input_index(spec, "variance");
  const int scale = spec.input("scale"), offset = spec.input("offset");
  const double epsilon = spec.attrs.number("varianceEpsilon", 0.001);
  const int64_t n = spec.outputs.at(0).numel();
  for (const TensorType& input : spec.inputs) require(input.dtype == DType::f32, "inputs must be float32");
  const auto length = [&](int index) { return index < 0 ? int64_t{1} : spec.inputs[static_cast<size_t>(index)].numel(); };
  const int64_t mean_length = length(static_cast<int>(mean)), variance_length = length(static_cast<int>(variance));
  const int64_t scale_length = length(scale), offset_length = length(offset);
  const int64_t period = std::max(std::max(mean_length, variance_length), std::max(scale_length, offset_length));
  for (const int64_t own : {mean_length, variance_length, scale_length, offset_length})
    require(n == 0 || (own > 0 && period % own == 0 && n % period == 0), "parameters do not repeat evenly along x");
  const int64_t run = n == 0 ? 0 : std::min(n, period >= kRun ? period : period * (kRun / period));
  const auto scale_shift = MERAK_PICK(scale_shift);
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        if (n == 0) return;
        float* means = static_cast<float*>(context.scratch);
        float* scales = means + run;
        float* offsets = scales + run;
        const auto parameter = [&](int index, int64_t own, int64_t i, float fallback) {
          return index < 0 ? fallback : static_cast<const float*>(in[index])[i % own];
        };
        parallel_for(run, kParallelGrain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) {
            means[i] = parameter(static_cast<int>(mean), mean_length, i, 0);
            const double spread = std::sqrt(parameter(static_cast<int>(variance), variance_length, i, 0) + epsilon);
            scales[i] = static_cast<float>(parameter(scale, scale_length, i, 1) / spread);
            offsets[i] = parameter(offset, offset_length, i, 0);
          }
        });
        const float* from = static_cast<const float*>(in[x]);
        float* to = static_cast<float*>(out[0]);
        // Pieces start at multiples of a run where runs are short, anywhere inside the one run otherwise.
        const int64_t grain = run >= n ? kParallelGrain : std::max<int64_t>(1, kParallelGrain / run) * run;
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end;) {
            const int64_t at = i % run, count = std::min(run - at, end - i);
            scale_shift(from + i, means + at, scales + at, offsets + at, to + i, count);
            i += count;
          }
        });
      },
      static_cast<size_t>(3 * run) * sizeof(float));
}

struct ResponseAttrs {
  int64_t channels, radius;
  double bias, alpha, beta;

  // bias + alpha * sum of squares of the channels within the radius of `channel`.
  double norm(const float* pixel, int64_t channel) const {
    double sum = 0;
    for (int64_t k = first(channel); k < last(channel); k++) sum += static_cast<double>(pixel[k]) * pixel[k];
    return bias + alpha * sum;
  }
  int64_t first(int64_t channel) const { return std::max<int64_t>(0, channel - radius); }
  int64_t last(int64_t channel) const { return std::min(channels, channel + radius + 1); }
};

ResponseAttrs response_attrs(const NodeSpec& spec, const TensorType& x) {
  require(x.dtype == DType::f32 && !x.shape.empty(), "the input must be float32 with channels");
  return {x.shape.back(), spec.attrs.integer("depthRadius", 5), spec.attrs.number("bias", 1),
          spec.attrs.number("alpha", 1), spec.attrs.number("beta", 0.5)};
}

std::unique_ptr<Kernel> make_response_norm(const NodeSpec& spec) {
  const TensorType& x = spec.inputs.at(0);
  const ResponseAttrs attrs = response_attrs(spec, x);
  const int64_t num_pixels = attrs.channels == 0 ? 0 : x.numel() / attrs.channels;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(num_pixels, kParallelGrain / 64 / std::max<int64_t>(1, attrs.channels), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * attrs.channels; i < end * attrs.channels; i += attrs.channels) {
        const float* pixel = static_cast<const float*>(in[0]) + i;
        for (int64_t c = 0; c < attrs.channels; c++)
          static_cast<float*>(out[0])[i + c] = static_cast<float>(pixel[c] * std::pow(attrs.norm(pixel, c), -attrs.beta));
      }
    });
  });
}

// dx_k = sum over c near k of dy_c ([c = k] norm_c^-beta - 2 alpha beta x_k y_c / norm_c)
std::unique_ptr<Kernel> make_response_norm_grad(const NodeSpec& spec) {
  const size_t x_at = input_index(spec, "x"), y_at = input_index(spec, "y"), dy_at = input_index(spec, "dy");
  const ResponseAttrs attrs = response_attrs(spec, spec.inputs[x_at]);
  const int64_t num_pixels = attrs.channels == 0 ? 0 : spec.inputs[x_at].numel() / attrs.channels;
  const size_t bytes = spec.outputs.at(0).bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    parallel_for(num_pixels, kParallelGrain / 64 / std::max<int64_t>(1, attrs.channels), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * attrs.channels; i < end * attrs.channels; i += attrs.channels) {
        const float* x = static_cast<const float*>(in[x_at]) + i;
        const float* y = static_cast<const float*>(in[y_at]) + i;
        const float* dy = static_cast<const float*>(in[dy_at]) + i;
        float* dx = static_cast<float*>(out[0]) + i;
        for (int64_t c = 0; c < attrs.channels; c++) {
          const double norm = attrs.norm(x, c);
          for (int64_t k = attrs.first(c); k < attrs.last(c); k++) {
            double share = -2 * attrs.alpha * attrs.beta * x[k] * y[c] / norm;
            if (k == c) share += std::pow(norm, -attrs.beta);
            dx[k] += static_cast<float>(share * dy[c]);
          }
        }
      }
    });
  });
}

}  // namespace

void register_normalisation_kernels() {
  register_kernel("FusedBatchNorm", make_batch_norm);
  register_kernel("LRN", make_response_norm);
  register_kernel("LRNGrad", make_response_norm_grad);
}

}  // namespace merak
