// ResizeBilinear, ResizeNearestNeighbor and their gradients on CUDA.
#include <algorithm>  // max

#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in resize.cu.
struct Resize {
  int small_height, small_width, big_height, big_width, channels, align_corners, half_pixel_centers;
};

std::unique_ptr<Kernel> make_resize(const NodeSpec& spec, Device& device) {
  const bool is_gradient = spec.kernel.ends_with("Grad"), is_bilinear = spec.kernel.starts_with("ResizeBilinear");
  const size_t from = input_index(spec, is_gradient ? "dy" : "images");
  const TensorType& made = spec.outputs.at(0);
  const Shape &image = is_gradient ? spec.inputs[input_index(spec, "images")].shape : spec.inputs[from].shape, &resized = is_gradient ? spec.inputs[from].shape : made.shape;
  require(spec.inputs[from].dtype == DType::f32 && made.dtype == DType::f32, "images must be float32");
  require(image.size() == 4 && resized.size() == 4, "images must be [batch, height, width, channels]");
  require(std::max({image[1], image[2], image[3], resized[1], resized[2]}) < (1 << 24), "an image is too large");
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  const Resize resize{narrow(image[1]), narrow(image[2]), narrow(resized[1]), narrow(resized[2]), narrow(image[3]), spec.attrs.flag("alignCorners", false),
                      spec.attrs.flag("halfPixelCenters", false)};
  const int64_t count = made.numel();
  const CUfunction function = device.function("resize", is_gradient ? "resize_grad" : "resize", {define("BILINEAR", is_bilinear)});
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context), {&in[from], &out[0], &resize, &count});
  });
}

}  // namespace

void register_cuda_resizes() {
  for (const char* name : {"ResizeBilinear", "ResizeNearestNeighbor", "ResizeBilinearGrad", "ResizeNearestNeighborGrad"}) register_cuda_kernel(name, make_resize);
}

}  // namespace merak
