// CropAndResize, RotateWithOffset and Transform on CUDA.
#include <algorithm>  // min
#include <cmath>      // sin, cos

#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in resample.cu.
struct Image {
  int64_t batch, height, width, channels;
};

Image image_of(const TensorType& type) {
  require(type.shape.size() == 4, "images must be [batch, height, width, channels]");
  return {type.shape[0], type.shape[1], type.shape[2], type.shape[3]};
}

CUfunction entry(Device& device, const char* name, DType dtype) {
  require(!is_half(dtype) && dtype != DType::i8, "images must be float32, int32 or bool");
  return device.function("resample", name, {define("X", dtype)});
}

// One of two texts; whether it is the second.
bool is_second(const NodeSpec& spec, const char* name, const char* fallback, const char* first, const char* second) {
  const std::string text = spec.attrs.text(name, fallback);
  require(text == first || text == second, "the interpolation must be 'bilinear' or 'nearest'");
  return text == second;
}

std::unique_ptr<Kernel> make_crop_and_resize(const NodeSpec& spec, Device& device) {
  const size_t image_at = input_index(spec, "image"), boxes = input_index(spec, "boxes"), which = input_index(spec, "boxInd");
  const Image image = image_of(spec.inputs[image_at]), result = image_of(spec.outputs.at(0));
  require(spec.inputs[boxes].dtype == DType::f32 && spec.inputs[which].dtype == DType::i32 && spec.outputs[0].dtype == DType::f32 && spec.inputs[which].numel() == result.batch &&
              spec.inputs[boxes].numel() == 4 * result.batch,
          "boxes must be float32 [n, 4], boxInd int32 [n] and the result float32");
  const int nearest = is_second(spec, "method", "bilinear", "bilinear", "nearest");
  const float outside = static_cast<float>(spec.attrs.number("extrapolationValue", 0));
  const int64_t count = spec.outputs[0].numel();
  const CUfunction function = entry(device, "crop_and_resize", spec.inputs[image_at].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context),
                  {&in[image_at], &in[boxes], &in[which], &out[0], &image, &result, &nearest, &outside, &context.device_step, &count});
  });
}

std::vector<double> numbers_of(const NodeSpec& spec, const char* name, double fallback) {
  const auto found = spec.attrs.values.find(name);
  if (found != spec.attrs.values.end())
    if (const auto* list = std::get_if<std::vector<double>>(&found->second)) return *list;
  return {spec.attrs.number(name, fallback)};
}

// As in resample.cu.
struct Turn {
  double sine, cosine, center_x, center_y, fill[4];
};

std::unique_ptr<Kernel> make_rotate(const NodeSpec& spec, Device& device) {
  const Image image = image_of(spec.inputs.at(0));
  const std::vector<double> fill = numbers_of(spec, "fillValue", 0), center = numbers_of(spec, "center", 0.5);
  const bool fills_all = fill.size() == 1;
  require(fills_all || (image.channels <= 4 && static_cast<int64_t>(fill.size()) >= std::min<int64_t>(3, image.channels)), "fillValue needs a number per channel");
  const double radians = spec.attrs.number("radians");
  Turn turn{std::sin(radians), std::cos(radians), static_cast<double>(image.width) * center.at(0), static_cast<double>(image.height) * center.at(center.size() > 1 ? 1 : 0), {}};
  // The fourth channel, alpha, becomes opaque.
  for (size_t c = 0; c < 4; c++) turn.fill[c] = fills_all ? fill[0] : c < 3 && c < fill.size() ? fill[c] : 255;
  const int64_t count = spec.outputs.at(0).numel();
  const CUfunction function = entry(device, "rotate", spec.inputs[0].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context), {&in[0], &out[0], &image, &turn, &count});
  });
}

std::unique_ptr<Kernel> make_transform(const NodeSpec& spec, Device& device) {
  const size_t image_at = input_index(spec, "image"), transforms_at = input_index(spec, "transforms");
  const TensorType& transforms = spec.inputs[transforms_at];
  const Image image = image_of(spec.inputs[image_at]), result = image_of(spec.outputs.at(0));
  require(transforms.dtype == DType::f32 && transforms.shape.size() == 2 && transforms.shape[1] == 8 && (transforms.shape[0] == 1 || transforms.shape[0] == image.batch),
          "transforms must be float32 [1 or batch, 8]");
  const int nearest = is_second(spec, "interpolation", "nearest", "bilinear", "nearest"), stride = transforms.shape[0] == 1 ? 0 : 8;
  const std::string name = spec.attrs.text("fillMode", "constant");
  const int mode = name == "reflect" ? 1 : name == "wrap" ? 2 : name == "nearest" ? 3 : 0;  // FILL_ of resample.cu
  const double fill = spec.attrs.number("fillValue", 0);
  const int64_t count = spec.outputs[0].numel();
  const CUfunction function = entry(device, "transform", spec.inputs[image_at].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context),
                  {&in[image_at], &in[transforms_at], &out[0], &image, &result, &stride, &nearest, &mode, &fill, &count});
  });
}

}  // namespace

void register_cuda_resampling() {
  register_cuda_kernel("CropAndResize", make_crop_and_resize);
  register_cuda_kernel("RotateWithOffset", make_rotate);
  register_cuda_kernel("Transform", make_transform);
}

}  // namespace merak
