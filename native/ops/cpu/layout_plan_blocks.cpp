// Spatial dims traded for batch or depth (SpaceToBatchND, BatchToSpaceND, DepthToSpace), and MirrorPad.
#include "ops/cpu/layout_plan_blocks.h"

#include <algorithm>  // min, max

#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/shape.h"        // strides

namespace merak {
namespace {

// Both ways the elements are those of a batch view [block dims..., batch, coarse dims..., rest] and of an image view
// [batch, coarse * block + block index, ..., rest] shifted by the padding. Only indices inside the image exist, so there is a copy
// for each block index, over the range of coarse indices that stay inside.
LayoutPlan blocks_of(const Shape& image, const Shape& batched, const std::vector<int64_t>& block, const std::vector<int64_t>& before, size_t bytes, bool to_batch) {
  const size_t num_dims = block.size();
  const Shape image_strides = strides_of(image), batched_strides = strides_of(batched);
  const int64_t rest = product(image, num_dims + 1, image.size());
  int64_t num_blocks = 1;
  for (const int64_t b : block) num_blocks *= b;
  LayoutPlan plan;
  for (int64_t which = 0; which < num_blocks; which++) {
    Shape sizes = {image[0]}, image_step = {image_strides[0]}, batched_step = {batched_strides[0]};
    int64_t image_at = 0, batched_at = which * image[0] * batched_strides[0], left = which;
    std::vector<int64_t> index(num_dims);
    for (size_t d = num_dims; d-- > 0;) {
      index[d] = left % block[d];
      left /= block[d];
    }
    for (size_t d = 0; d < num_dims; d++) {
      // Coarse index c sits at image index c * block + index - before.
      const int64_t shift = index[d] - before[d];
      const int64_t first = shift >= 0 ? 0 : (-shift + block[d] - 1) / block[d];
      const int64_t room = image[d + 1] - shift;
      const int64_t last = std::min(batched[d + 1], room <= 0 ? 0 : (room + block[d] - 1) / block[d]);
      sizes.push_back(std::max<int64_t>(0, last - first));
      image_step.push_back(image_strides[d + 1] * block[d]);
      batched_step.push_back(batched_strides[d + 1]);
      image_at += (first * block[d] + shift) * image_strides[d + 1];
      batched_at += first * batched_strides[d + 1];
    }
    sizes.push_back(rest);
    image_step.push_back(1);
    batched_step.push_back(1);
    if (numel(sizes) == 0) continue;
    if (to_batch) plan.copies.push_back({0, 0, sizes, image_step, image_at, batched_step, batched_at, bytes});
    else plan.copies.push_back({0, 0, sizes, batched_step, batched_at, image_step, image_at, bytes});
  }
  return plan;
}

std::vector<int64_t> evens(const std::vector<int64_t>& pairs) {
  std::vector<int64_t> first;
  for (size_t i = 0; i < pairs.size(); i += 2) first.push_back(pairs[i]);
  return first;
}

// A stretch of one dim of the result and where it is read from, forwards or backwards.
struct Stretch {
  int64_t to, size, from, step;
};

std::vector<Stretch> mirrored(int64_t size, int64_t before, int64_t after, bool repeats_edge) {
  const int64_t skipped = repeats_edge ? 0 : 1;
  require(std::max(before, after) + skipped <= std::max(size, skipped), "paddings exceed what can be mirrored");
  std::vector<Stretch> stretches;
  if (before > 0) stretches.push_back({0, before, before - 1 + skipped, -1});
  stretches.push_back({before, size, 0, 1});
  if (after > 0) stretches.push_back({before + size, after, size - 1 - skipped, -1});
  return stretches;
}

}  // namespace

LayoutPlan plan_space_to_batch(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), before = evens(spec.attrs.ints("paddings"));
  require(before.size() == block.size() && x.shape.size() > block.size(), "paddings and blockShape do not fit the input");
  LayoutPlan plan = blocks_of(x.shape, y.shape, block, before, size_of(x.dtype), true);
  plan.fills = true;
  return plan;
}

LayoutPlan plan_batch_to_space(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), before = evens(spec.attrs.ints("crops"));
  require(before.size() == block.size() && x.shape.size() > block.size(), "crops and blockShape do not fit the input");
  return blocks_of(y.shape, x.shape, block, before, size_of(x.dtype), false);
}

// y[b, h, bh, w, bw, d] = x[b, h, w, bh, bw, d]
LayoutPlan plan_depth_to_space(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(spec.attrs.text("dataFormat", "NHWC") == "NHWC", "dataFormat must be NHWC");
  const int64_t block = spec.attrs.integer("blockSize"), height = x.shape.at(1), width = x.shape.at(2), depth = y.shape.at(3);
  const Shape sizes = {x.shape[0], height, block, width, block, depth};
  const int64_t pixel = block * block * depth;
  LayoutPlan plan;
  plan.copies.push_back({0, 0, sizes, {height * width * pixel, width * pixel, block * depth, pixel, depth, 1}, 0, strides_of(sizes), 0, size_of(x.dtype)});
  return plan;
}

// A copy for each choice of a stretch in every dim.
LayoutPlan plan_mirror_pad(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> paddings = spec.attrs.ints("paddings");
  require(paddings.size() == 2 * x.shape.size(), "paddings must give two numbers for every dim");
  const bool repeats_edge = spec.attrs.text("mode", "reflect") != "reflect";
  const Shape from = strides_of(x.shape), to = strides_of(y.shape);
  LayoutPlan plan;
  plan.copies.push_back({0, 0, {}, {}, 0, to, 0, size_of(x.dtype)});
  for (size_t d = 0; d < x.shape.size(); d++) {
    std::vector<LayoutCopy> longer;
    for (const Stretch& stretch : mirrored(x.shape[d], paddings[2 * d], paddings[2 * d + 1], repeats_edge))
      for (LayoutCopy copy : plan.copies) {
        copy.sizes.push_back(stretch.size);
        copy.from.push_back(stretch.step * from[d]);
        copy.from_at += stretch.from * from[d];
        copy.to_at += stretch.to * to[d];
        longer.push_back(copy);
      }
    plan.copies = longer;
  }
  if (y.numel() == 0) plan.copies.clear();
  return plan;
}

}  // namespace merak
