// Image resizing, bilinear and nearest neighbour, with gradients. The gradients are the exact transposes of the forward maps.
#include <cmath>    // std::floor, std::ceil
#include <cstring>  // memset

#include "ops/cpu/make_kernel.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

// Where one row (or column) of the resized image comes from: low * (1 - fraction) + high * fraction.
struct Source {
  int64_t low, high;
  double fraction;
};

struct ResizeMode {
  bool bilinear, align_corners, half_pixel_centers;
};

std::vector<Source> sources(int64_t from, int64_t to, const ResizeMode& mode) {
  const bool aligned = mode.align_corners && to > 1;
  const double ratio = static_cast<double>(aligned ? from - 1 : from) / static_cast<double>(aligned ? to - 1 : to);
  std::vector<Source> result;
  for (int64_t i = 0; i < to; i++) {
    double at = ratio * static_cast<double>(i);
    if (mode.bilinear) {
      if (mode.half_pixel_centers) at = ratio * (static_cast<double>(i) + 0.5) - 0.5;
      // With both corners aligned and half-pixel centres, places past the last pixel come up.
      const double low = std::min(static_cast<double>(from - 1), std::max(0.0, std::floor(at)));
      const double high = std::min(static_cast<double>(from - 1), std::ceil(at));
      // As tfjs: before the first centre the fraction is negative and high is 0 too, so the edge pixel stays.
      result.push_back({static_cast<int64_t>(low), static_cast<int64_t>(std::max(0.0, high)), at - low});
    } else {
      if (mode.half_pixel_centers) at = ratio * (static_cast<double>(i) + 0.5);
      // JavaScript's Math.round: halves go up.
      const double nearest = mode.align_corners ? std::floor(at + 0.5) : std::floor(at);
      const int64_t index = std::max<int64_t>(0, std::min(from - 1, static_cast<int64_t>(nearest)));
      result.push_back({index, index, 0});
    }
  }
  return result;
}

struct Resize {
  int64_t batch, channels, small_height, small_width, big_height, big_width;  // small: the image; big: the resized one
  std::vector<Source> rows, columns;
};

Resize resize_of(const NodeSpec& spec, const Shape& image, const Shape& resized) {
  require(image.size() == 4 && resized.size() == 4, "images must be [batch, height, width, channels]");
  require(std::max({image[1], image[2], resized[1], resized[2]}) < (1 << 24), "an image is too large");
  const ResizeMode mode = {spec.kernel.find("Bilinear") != std::string::npos, spec.attrs.flag("alignCorners", false),
                           spec.attrs.flag("halfPixelCenters", false)};
  return {image[0], image[3], image[1], image[2], resized[1], resized[2],
          sources(image[1], resized[1], mode), sources(image[2], resized[2], mode)};
}

std::unique_ptr<Kernel> make_resize(const NodeSpec& spec) {
  require(spec.inputs.at(0).dtype == DType::f32 && spec.outputs.at(0).dtype == DType::f32, "images must be float32");
  const Resize r = resize_of(spec, spec.inputs[0].shape, spec.outputs[0].shape);
  return make_kernel([r](const void* const* in, void* const* out, RunContext&) {
    const int64_t work = 4 * r.big_width * r.channels;
    parallel_for(r.batch * r.big_height, kParallelGrain / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const float* image = static_cast<const float*>(in[0]) + (i / r.big_height) * r.small_height * r.small_width * r.channels;
        const Source& row = r.rows[static_cast<size_t>(i % r.big_height)];
        const float *upper = image + row.low * r.small_width * r.channels, *lower = image + row.high * r.small_width * r.channels;
        float* y = static_cast<float*>(out[0]) + i * r.big_width * r.channels;
        const float down = static_cast<float>(row.fraction);
        for (const Source& column : r.columns) {
          const int64_t left = column.low * r.channels, right = column.high * r.channels;
          const float across = static_cast<float>(column.fraction);
          for (int64_t c = 0; c < r.channels; c++) {
            const float top = upper[left + c] + (upper[right + c] - upper[left + c]) * across;
            const float bottom = lower[left + c] + (lower[right + c] - lower[left + c]) * across;
            *y++ = top + (bottom - top) * down;
          }
        }
      }
    });
  });
}

std::unique_ptr<Kernel> make_resize_grad(const NodeSpec& spec) {
  const size_t images = input_index(spec, "images"), dy = input_index(spec, "dy");
  require(spec.inputs[dy].dtype == DType::f32, "dy must be float32");
  const Resize r = resize_of(spec, spec.inputs[images].shape, spec.inputs[dy].shape);
  const size_t bytes = spec.outputs.at(0).bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    const int64_t work = 4 * r.big_height * r.big_width * r.channels;
    parallel_for(r.batch, kParallelGrain / std::max<int64_t>(1, work), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) {
        float* image = static_cast<float*>(out[0]) + b * r.small_height * r.small_width * r.channels;
        const float* from = static_cast<const float*>(in[dy]) + b * r.big_height * r.big_width * r.channels;
        for (const Source& row : r.rows) {
          float *upper = image + row.low * r.small_width * r.channels, *lower = image + row.high * r.small_width * r.channels;
          for (const Source& column : r.columns) {
            const int64_t left = column.low * r.channels, right = column.high * r.channels;
            const float down = static_cast<float>(row.fraction), across = static_cast<float>(column.fraction);
            for (int64_t c = 0; c < r.channels; c++) {
              const float g = *from++;
              upper[left + c] += g * (1 - down) * (1 - across);
              upper[right + c] += g * (1 - down) * across;
              lower[left + c] += g * down * (1 - across);
              lower[right + c] += g * down * across;
            }
          }
        }
      }
    });
  });
}

}  // namespace

void register_resize_kernels() {
  register_kernel("ResizeBilinear", make_resize);
  register_kernel("ResizeNearestNeighbor", make_resize);
  register_kernel("ResizeBilinearGrad", make_resize_grad);
  register_kernel("ResizeNearestNeighborGrad", make_resize_grad);
}

}  // namespace merak
