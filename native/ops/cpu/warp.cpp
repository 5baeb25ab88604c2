// Images [batch, height, width, channels] resampled along other coordinates: CropAndResize, RotateWithOffset, Transform.
// Coordinates are computed in double precision, as tfjs does.
#include <cmath>    // floor, trunc, sin, cos
#include <cstring>  // memcpy

#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"

namespace merak {
namespace {

struct Image {
  int64_t batch, height, width, channels;
  int64_t at(int64_t b, int64_t y, int64_t x) const { return ((b * height + y) * width + x) * channels; }
  bool contains(double y, double x) const {
    return y >= 0 && y < static_cast<double>(height) && x >= 0 && x < static_cast<double>(width);
  }
};

Image image_of(const TensorType& type) {
  require(type.shape.size() == 4, "images must be [batch, height, width, channels]");
  return {type.shape[0], type.shape[1], type.shape[2], type.shape[3]};
}

// JavaScript's Math.round: halves go up.
double round_up(double x) {
  const double below = std::floor(x);  // floor(x + 0.5) would round the number just below one half up
  return x - below >= 0.5 ? below + 1 : below;
}

std::vector<double> numbers_of(const NodeSpec& spec, const char* name, double fallback) {
  const auto found = spec.attrs.values.find(name);
  if (found != spec.attrs.values.end())
    if (const auto* list = std::get_if<std::vector<double>>(&found->second)) return *list;
  return {spec.attrs.number(name, fallback)};
}

int64_t pixel_grain(const Image& image) { return kParallelGrain / std::max<int64_t>(1, image.width * image.channels * 4); }

// Boxes [n, 4] are corners (y1, x1, y2, x2) in units of the image's height - 1 and width - 1; boxInd [n] names each one's image.
std::unique_ptr<Kernel> make_crop_and_resize(const NodeSpec& spec) {
  const size_t image_at = input_index(spec, "image"), boxes_at = input_index(spec, "boxes"), which_at = input_index(spec, "boxInd");
  const Image image = image_of(spec.inputs[image_at]), result = image_of(spec.outputs.at(0));
  require(spec.inputs[boxes_at].dtype == DType::f32 && spec.inputs[which_at].dtype == DType::i32 &&
              spec.outputs[0].dtype == DType::f32 && spec.inputs[which_at].numel() == result.batch &&
              spec.inputs[boxes_at].numel() == 4 * result.batch,
          "boxes must be float32 [n, 4], boxInd int32 [n] and the result float32");
  const std::string method = spec.attrs.text("method", "bilinear");
  require(method == "bilinear" || method == "nearest", "the method must be 'bilinear' or 'nearest'");
  const bool nearest = method == "nearest";
  const float outside = static_cast<float>(spec.attrs.number("extrapolationValue", 0));
  const DType dtype = spec.inputs[image_at].dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const float* boxes = static_cast<const float*>(in[boxes_at]);
    const int32_t* which = static_cast<const int32_t*>(in[which_at]);
    for (int64_t b = 0; b < result.batch; b++)
      if (which[b] < 0) throw std::runtime_error("box " + std::to_string(b) + " names image " + std::to_string(which[b]));
    const double bottom = static_cast<double>(image.height - 1), right = static_cast<double>(image.width - 1);
    // Place i of `size` between corners `from` and `to`.
    const auto place = [](double from, double to, double end, int64_t i, int64_t size) {
      if (size <= 1) return 0.5 * (from + to) * end;
      const double step = (to - from) * end / static_cast<double>(size - 1);
      return from * end + static_cast<double>(i) * step;
    };
    parallel_for(result.batch * result.height, pixel_grain(result), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t b = row / result.height, y = row % result.height;
        float* to = static_cast<float*>(out[0]) + row * result.width * result.channels;
        if (which[b] >= image.batch) {  // as tfjs: nothing there
          std::fill(to, to + result.width * result.channels, 0.0f);
          continue;
        }
        const float* box = boxes + b * 4;
        const double at_y = place(box[0], box[2], bottom, y, result.height);
        for (int64_t x = 0; x < result.width; x++, to += result.channels) {
          const double at_x = place(box[1], box[3], right, x, result.width);
          // Negated, so that NaN is outside.
          if (!(at_y >= 0 && at_y <= bottom && at_x >= 0 && at_x <= right)) {
            std::fill(to, to + result.channels, outside);
            continue;
          }
          const auto value = [&](double vertical, double horizontal, int64_t c) {
            return load_number(dtype, in[image_at],
                               image.at(which[b], static_cast<int64_t>(vertical), static_cast<int64_t>(horizontal)) + c);
          };
          if (nearest) {
            for (int64_t c = 0; c < result.channels; c++) to[c] = static_cast<float>(value(round_up(at_y), round_up(at_x), c));
            continue;
          }
          const double y0 = std::floor(at_y), y1 = std::ceil(at_y), x0 = std::floor(at_x), x1 = std::ceil(at_x);
          for (int64_t c = 0; c < result.channels; c++) {
            const double left_top = value(y0, x0, c), left_bottom = value(y1, x0, c);
            const double upper = left_top + (value(y0, x1, c) - left_top) * (at_x - x0);
            const double lower = left_bottom + (value(y1, x1, c) - left_bottom) * (at_x - x0);
            to[c] = static_cast<float>(upper + (lower - upper) * (at_y - y0));
          }
        }
      }
    });
  });
}

// Turned about `center` (a share of the image's size); where nothing comes from inside, the fill value: one number for all channels
// or one for each of the first three, then the alpha channel is opaque.
std::unique_ptr<Kernel> make_rotate(const NodeSpec& spec) {
  const TensorType& type = spec.inputs.at(0);
  const Image image = image_of(type);
  const std::vector<double> fill = numbers_of(spec, "fillValue", 0), center = numbers_of(spec, "center", 0.5);
  const bool fills_all = fill.size() == 1;
  require(fills_all || static_cast<int64_t>(fill.size()) >= std::min<int64_t>(3, image.channels), "fillValue needs a number per channel");
  const double radians = spec.attrs.number("radians"), sine = std::sin(radians), cosine = std::cos(radians);
  const double center_x = static_cast<double>(image.width) * center.at(0);
  const double center_y = static_cast<double>(image.height) * center.at(center.size() > 1 ? 1 : 0);
  const DType dtype = type.dtype;
  const int64_t pixel_bytes = image.channels * static_cast<int64_t>(size_of(dtype));
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(image.batch * image.height, pixel_grain(image), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t b = row / image.height;
        const double y = static_cast<double>(row % image.height) - center_y;
        for (int64_t column = 0; column < image.width; column++) {
          const double x = static_cast<double>(column) - center_x;
          const double from_x = round_up(x * cosine - y * sine + center_x), from_y = round_up(x * sine + y * cosine + center_y);
          const int64_t to = (row * image.width + column) * image.channels;
          if (image.contains(from_y, from_x)) {
            const int64_t from = image.at(b, static_cast<int64_t>(from_y), static_cast<int64_t>(from_x));
            std::memcpy(bytes_at(out[0], to * static_cast<int64_t>(size_of(dtype))),
                        bytes_at(in[0], from * static_cast<int64_t>(size_of(dtype))), static_cast<size_t>(pixel_bytes));
          } else {
            for (int64_t c = 0; c < image.channels; c++)
              store_number(dtype, out[0], to + c, fills_all ? fill[0] : c == 3 ? 255 : fill.at(static_cast<size_t>(c)));
          }
        }
      }
    });
  });
}

enum class FillMode { constant, reflect, wrap, nearest };

FillMode fill_mode(const std::string& name) {
  if (name == "reflect") return FillMode::reflect;
  if (name == "wrap") return FillMode::wrap;
  return name == "nearest" ? FillMode::nearest : FillMode::constant;
}

// A coordinate outside [0, size) brought inside, as TensorFlow's ImageProjectiveTransformV3 does.
double bring_inside(double at, int64_t size, FillMode mode) {
  const double length = static_cast<double>(size), last = length - 1;
  if (mode == FillMode::constant) return at;
  if (mode == FillMode::nearest || (at >= 0 && at <= last)) return std::min(std::max(at, 0.0), last);
  if (size <= 1) return 0;
  if (mode == FillMode::reflect) {
    const double period = 2 * length;
    if (at < 0) {
      at = period * std::trunc(-at / period) + at;
      at = at < -length ? at + period : -at - 1;
    } else {
      at -= period * std::trunc(at / period);
      if (at >= length) at = period - at - 1;
    }
  } else if (at < 0) {
    at += length * (std::trunc(-at / last) + 1);
  } else {
    at -= length * std::trunc(at / last);
  }
  return std::min(std::max(at, 0.0), last);
}

// Each output pixel (x, y) reads the input at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1; `transforms`
// holds the eight numbers of each image, or of all.
std::unique_ptr<Kernel> make_transform(const NodeSpec& spec) {
  const size_t image_at = input_index(spec, "image"), transforms_at = input_index(spec, "transforms");
  const TensorType &type = spec.inputs[image_at], &transforms = spec.inputs[transforms_at];
  const Image image = image_of(type), result = image_of(spec.outputs.at(0));
  require(transforms.dtype == DType::f32 && transforms.shape.size() == 2 && transforms.shape[1] == 8 &&
              (transforms.shape[0] == 1 || transforms.shape[0] == image.batch),
          "transforms must be float32 [1 or batch, 8]");
  const std::string interpolation = spec.attrs.text("interpolation", "nearest");
  require(interpolation == "nearest" || interpolation == "bilinear", "the interpolation must be 'nearest' or 'bilinear'");
  const bool nearest = interpolation == "nearest", shared = transforms.shape[0] == 1;
  const FillMode mode = fill_mode(spec.attrs.text("fillMode", "constant"));
  const double fill = spec.attrs.number("fillValue", 0);
  const DType dtype = type.dtype;
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    parallel_for(result.batch * result.height, pixel_grain(result), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t b = row / result.height;
        const double y = static_cast<double>(row % result.height);
        const float* matrix = static_cast<const float*>(in[transforms_at]) + (shared ? 0 : b * 8);
        const auto value = [&](double vertical, double horizontal, int64_t c) {
          if (!image.contains(vertical, horizontal)) return fill;
          return load_number(dtype, in[image_at], image.at(b, static_cast<int64_t>(vertical), static_cast<int64_t>(horizontal)) + c);
        };
        for (int64_t column = 0; column < result.width; column++) {
          const double x = static_cast<double>(column), scale = matrix[6] * x + matrix[7] * y + 1;
          const int64_t to = (row * result.width + column) * result.channels;
          const double at_x = bring_inside((matrix[0] * x + matrix[1] * y + matrix[2]) / scale, image.width, mode);
          const double at_y = bring_inside((matrix[3] * x + matrix[4] * y + matrix[5]) / scale, image.height, mode);
          const double x0 = std::floor(at_x), y0 = std::floor(at_y);
          for (int64_t c = 0; c < result.channels; c++) {
            double pixel = fill;
            if (scale != 0 && nearest) {
              pixel = value(round_up(at_y), round_up(at_x), c);
            } else if (scale != 0) {
              const double upper = (x0 + 1 - at_x) * value(y0, x0, c) + (at_x - x0) * value(y0, x0 + 1, c);
              const double lower = (x0 + 1 - at_x) * value(y0 + 1, x0, c) + (at_x - x0) * value(y0 + 1, x0 + 1, c);
              pixel = (y0 + 1 - at_y) * upper + (at_y - y0) * lower;
            }
            store_number(dtype, out[0], to + c, pixel);
          }
        }
      }
    });
  });
}

}  // namespace

void register_warp_kernels() {
  register_kernel("CropAndResize", make_crop_and_resize);
  register_kernel("RotateWithOffset", make_rotate);
  register_kernel("Transform", make_transform);
}

}  // namespace merak
