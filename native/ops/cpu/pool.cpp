// Max and average pooling in two and three dims with their gradients.
#include <cstring>      // memset
#include <limits>       // infinity
#include <type_traits>  // is_same

#include "ops/cpu/parallel.h"
#include "ops/cpu/window.h"

namespace merak {
namespace {

Window pool_window(const NodeSpec& spec, const Shape& in, const Shape& out) {
  return window_of(spec, in, out, pool_filter(spec, in.size() - 2));
}

// Calls pixel(batch, o0, o1, o2, output pixel number) for the output pixels [begin, end) of the whole batch.
template <class Pixel>
void for_output_pixels(const Window& w, int64_t begin, int64_t end, const Pixel& pixel) {
  for (int64_t i = begin; i < end; i++) {
    int64_t rest = i;
    const int64_t o2 = rest % w.out[2];
    rest /= w.out[2];
    const int64_t o1 = rest % w.out[1];
    rest /= w.out[1];
    pixel(rest / w.out[0], rest % w.out[0], o1, o2, i);
  }
}

int64_t window_size(const Window& w) { return std::max<int64_t>(1, w.filter[0] * w.filter[1] * w.filter[2] * w.channels); }

// tfjs ignores NaN here: a maximum of NaN alone is -infinity. Of integers the maximum of nothing is 0, which is what its typed arrays
// make of -infinity.
template <class In, class Out>
std::unique_ptr<Kernel> make_max_pool_of(const Window& w) {
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(w.batch * w.out_pixels(), kParallelGrain / window_size(w), [&](int64_t begin, int64_t end) {
      for_output_pixels(w, begin, end, [&](int64_t batch, int64_t o0, int64_t o1, int64_t o2, int64_t index) {
        const In* x = static_cast<const In*>(in[0]) + batch * w.in_pixels() * w.channels;
        Out* y = static_cast<Out*>(out[0]) + index * w.channels;
        constexpr bool kFloat = std::is_same_v<Out, float>;
        std::fill(y, y + w.channels, kFloat ? -std::numeric_limits<Out>::infinity() : std::numeric_limits<Out>::lowest());
        bool empty = true;
        for_taps(w, o0, o1, o2, [&](int64_t, int64_t, int64_t, int64_t pixel) {
          const In* from = x + pixel * w.channels;
          for (int64_t c = 0; c < w.channels; c++) y[c] = static_cast<Out>(from[c]) > y[c] ? static_cast<Out>(from[c]) : y[c];
          empty = false;
        });
        if (empty && !kFloat) std::fill(y, y + w.channels, Out{0});
      });
    });
  });
}

std::unique_ptr<Kernel> make_max_pool(const NodeSpec& spec) {
  const DType from = spec.inputs.at(0).dtype, to = spec.outputs.at(0).dtype;
  const Window w = pool_window(spec, spec.inputs[0].shape, spec.outputs[0].shape);
  if (from == DType::f32 && to == DType::f32) return make_max_pool_of<float, float>(w);
  if (from == DType::i32 && to == DType::i32) return make_max_pool_of<int32_t, int32_t>(w);
  if (from == DType::i32 && to == DType::f32) return make_max_pool_of<int32_t, float>(w);  // MaxPool3D
  if (from == DType::b8 && to == DType::b8) return make_max_pool_of<uint8_t, uint8_t>(w);
  throw Unsupported("the input must be float32, int32 or bool");
}

// The mean over the pixels inside the input. A window outside gives NaN in two dims and 0 in three, as tfjs.
std::unique_ptr<Kernel> make_average_pool(const NodeSpec& spec) {
  require(spec.inputs.at(0).dtype == DType::f32, "the input must be float32");
  const Window w = pool_window(spec, spec.inputs[0].shape, spec.outputs.at(0).shape);
  const float smallest_count = spec.kernel == "AvgPool3D" ? 1.0f : 0.0f;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(w.batch * w.out_pixels(), kParallelGrain / window_size(w), [&](int64_t begin, int64_t end) {
      for_output_pixels(w, begin, end, [&](int64_t batch, int64_t o0, int64_t o1, int64_t o2, int64_t index) {
        const float* x = static_cast<const float*>(in[0]) + batch * w.in_pixels() * w.channels;
        float* y = static_cast<float*>(out[0]) + index * w.channels;
        std::fill(y, y + w.channels, 0.0f);
        float count = 0;
        for_taps(w, o0, o1, o2, [&](int64_t, int64_t, int64_t, int64_t pixel) {
          const float* from = x + pixel * w.channels;
          for (int64_t c = 0; c < w.channels; c++) y[c] += from[c];
          count++;
        });
        count = std::max(count, smallest_count);
        for (int64_t c = 0; c < w.channels; c++) y[c] /= count;
      });
    });
  });
}

// dy goes to the pixel that was the maximum: the first of equals in two dims, the last in three, as tfjs.
std::unique_ptr<Kernel> make_max_pool_grad(const NodeSpec& spec) {
  const size_t dy_at = input_index(spec, "dy"), x_at = input_index(spec, "input");
  require(spec.inputs[x_at].dtype == DType::f32, "the input must be float32");
  const Window w = pool_window(spec, spec.inputs[x_at].shape, spec.inputs[dy_at].shape);
  const bool last_wins = spec.kernel == "MaxPool3DGrad";
  const size_t bytes = spec.outputs.at(0).bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    // Windows overlap only within a sample.
    parallel_for(w.batch, kParallelGrain / std::max<int64_t>(1, window_size(w) * w.out_pixels()), [&](int64_t begin, int64_t end) {
      std::vector<float> top(static_cast<size_t>(w.channels));
      std::vector<int64_t> winner(static_cast<size_t>(w.channels));
      for_output_pixels(w, begin * w.out_pixels(), end * w.out_pixels(),
                        [&](int64_t batch, int64_t o0, int64_t o1, int64_t o2, int64_t index) {
        const float* x = static_cast<const float*>(in[x_at]) + batch * w.in_pixels() * w.channels;
        float* dx = static_cast<float*>(out[0]) + batch * w.in_pixels() * w.channels;
        const float* dy = static_cast<const float*>(in[dy_at]) + index * w.channels;
        std::fill(top.begin(), top.end(), -std::numeric_limits<float>::infinity());
        std::fill(winner.begin(), winner.end(), -1);
        for_taps(w, o0, o1, o2, [&](int64_t, int64_t, int64_t, int64_t pixel) {
          const float* from = x + pixel * w.channels;
          for (size_t c = 0; c < top.size(); c++) {
            if (last_wins ? from[c] >= top[c] : from[c] > top[c]) {
              top[c] = from[c];
              winner[c] = pixel;
            }
          }
        });
        for (size_t c = 0; c < top.size(); c++)
          if (winner[c] >= 0) dx[winner[c] * w.channels + static_cast<int64_t>(c)] += dy[c];
      });
    });
  });
}

// Each pixel of a window gets dy / (pixels of the whole filter), as tfjs's kernel: at padded edges that is not the gradient of its
// forward pass, and the gradient rule scales dy to make up for it (src/autodiff/gradients/pool.ts).
std::unique_ptr<Kernel> make_average_pool_grad(const NodeSpec& spec) {
  const size_t dy_at = input_index(spec, "dy"), x_at = input_index(spec, "input");
  require(spec.inputs[dy_at].dtype == DType::f32, "dy must be float32");
  const Window w = pool_window(spec, spec.inputs[x_at].shape, spec.inputs[dy_at].shape);
  const size_t bytes = spec.outputs.at(0).bytes();
  const float share = 1.0f / static_cast<float>(w.filter[0] * w.filter[1] * w.filter[2]);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    parallel_for(w.batch, kParallelGrain / std::max<int64_t>(1, window_size(w) * w.out_pixels()), [&](int64_t begin, int64_t end) {
      for_output_pixels(w, begin * w.out_pixels(), end * w.out_pixels(),
                        [&](int64_t batch, int64_t o0, int64_t o1, int64_t o2, int64_t index) {
        float* dx = static_cast<float*>(out[0]) + batch * w.in_pixels() * w.channels;
        const float* dy = static_cast<const float*>(in[dy_at]) + index * w.channels;
        for_taps(w, o0, o1, o2, [&](int64_t, int64_t, int64_t, int64_t pixel) {
          for (int64_t c = 0; c < w.channels; c++) dx[pixel * w.channels + c] += share * dy[c];
        });
      });
    });
  });
}

}  // namespace

void register_pool_kernels() {
  register_kernel("MaxPool", make_max_pool);
  register_kernel("MaxPool3D", make_max_pool);
  register_kernel("AvgPool", make_average_pool);
  register_kernel("AvgPool3D", make_average_pool);
  register_kernel("MaxPoolGrad", make_max_pool_grad);
  register_kernel("MaxPool3DGrad", make_max_pool_grad);
  register_kernel("AvgPoolGrad", make_average_pool_grad);
  register_kernel("AvgPool3DGrad", make_average_pool_grad);
}

}  // namespace merak
