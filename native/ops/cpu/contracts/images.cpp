// Windows over images, resampling, boxes.
#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules

namespace merak::contracts {
namespace {

void pools(const NodeSpec& spec) { all_float(spec); }

void pool_gradient(const NodeSpec& spec) {
  all_float(spec);
  if (spec.input("input") >= 0) same_size(in(spec, "input"), out(spec));
}

void images(const NodeSpec& spec, const TensorType& image, const TensorType& result) {
  require(image.shape.size() == 4 && result.shape.size() == 4, "images must be [batch, height, width, channels]");
  require(image.shape[3] == result.shape[3], "channels must not change");
  require(result.numel() == 0 || image.numel() > 0, "an empty image cannot be resampled");
}

void resizes(const NodeSpec& spec) {
  images(spec, spec.inputs[0], out(spec));
  require(spec.inputs[0].shape[0] == out(spec).shape[0], "the batch must not change");
}

void resize_gradient(const NodeSpec& spec) {
  is_float(out(spec));
  same_size(in(spec, "images"), out(spec));
  images(spec, in(spec, "images"), in(spec, "dy"));
  require(in(spec, "images").shape[0] == in(spec, "dy").shape[0], "the batch must not change");
}

void selects(const NodeSpec& spec) {
  const TensorType &boxes = in(spec, "boxes"), &scores = in(spec, "scores");
  require(scores.shape.size() == 1 && boxes.numel() == 4 * scores.numel() && scores.numel() < (int64_t{1} << 31), "boxes must be [n, 4], scores [n]");
  is(out(spec), DType::i32);
  if (spec.kernel != "NonMaxSuppressionV5") return;
  is_float(out(spec, 1));
  same_size(out(spec), out(spec, 1));
}

void dilates(const NodeSpec& spec) {
  const TensorType &x = in(spec, "x"), &filter = in(spec, "filter");
  all_float(spec);
  require(x.shape.size() == 4 && filter.shape.size() == 3 && filter.shape[2] == x.shape[3], "x must be [b,h,w,c] and the filter [h,w,c]");
  if (spec.kernel != "Dilation2D") same_size(out(spec), spec.kernel == "Dilation2DBackpropInput" ? x : filter);
}

}  // namespace

void add_image_rules(Rules& rules) {
  rules.add({"AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D", "MaxPoolWithArgmax"}, [](const NodeSpec& s) {
    if (s.kernel == "MaxPoolWithArgmax") same_size(out(s), out(s, 1));
    else if (s.kernel == "AvgPool" || s.kernel == "AvgPool3D") pools(s);
  });
  rules.add({"AvgPoolGrad", "AvgPool3DGrad", "MaxPoolGrad", "MaxPool3DGrad"}, pool_gradient);
  rules.add({"Dilation2D", "Dilation2DBackpropInput", "Dilation2DBackpropFilter"}, dilates);
  rules.add({"ResizeBilinear", "ResizeNearestNeighbor"}, resizes);
  rules.add({"ResizeBilinearGrad", "ResizeNearestNeighborGrad"}, resize_gradient);
  rules.add({"CropAndResize", "Transform"}, [](const NodeSpec& s) {
    images(s, in(s, "image"), out(s));
    if (s.kernel == "Transform") same_dtype(s);
    if (s.kernel == "Transform") require(in(s, "image").shape[0] == out(s).shape[0], "the batch must not change");
  });
  rules.add({"NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5"}, selects);
}

}  // namespace merak::contracts
