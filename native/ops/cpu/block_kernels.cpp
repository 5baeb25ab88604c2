// Kernels that trade spatial dims for batch or depth: SpaceToBatchND, BatchToSpaceND, DepthToSpace.
#include <cstring>  // memset

#include "ops/cpu/make_kernel.h"
#include "ops/cpu/strided_copy.h"

namespace merak {
namespace {

// Both ways the elements are those of a batch view [block dims..., batch, coarse dims..., rest] and of an image view
// [batch, coarse * block + block index, ..., rest] shifted by the padding. Only indices inside the image exist, so the copy runs
// once per block index, over the range of coarse indices that stay inside.
struct Blocks {
  std::vector<StridedCopy> copies;
};

Blocks blocks_of(const Shape& image, const Shape& batched, const std::vector<int64_t>& block, const std::vector<int64_t>& before,
                 size_t bytes, bool to_batch) {
  const size_t num_dims = block.size();
  const Shape image_strides = strides_of(image), batched_strides = strides_of(batched);
  const int64_t rest = product(image, num_dims + 1, image.size());
  int64_t num_blocks = 1;
  for (const int64_t b : block) num_blocks *= b;
  Blocks result;
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
    if (to_batch) {
      result.copies.emplace_back(sizes, image_step, image_at, batched_step, batched_at, bytes);
    } else {
      result.copies.emplace_back(sizes, batched_step, batched_at, image_step, image_at, bytes);
    }
  }
  return result;
}

std::vector<int64_t> evens(const std::vector<int64_t>& pairs) {
  std::vector<int64_t> first;
  for (size_t i = 0; i < pairs.size(); i += 2) first.push_back(pairs[i]);
  return first;
}

std::unique_ptr<Kernel> make_space_to_batch(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), before = evens(spec.attrs.ints("paddings"));
  require(before.size() == block.size() && x.shape.size() > block.size(), "paddings and blockShape do not fit the input");
  const Blocks blocks = blocks_of(x.shape, y.shape, block, before, size_of(x.dtype), true);
  const size_t bytes = y.bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    std::memset(out[0], 0, bytes);
    for (const StridedCopy& copy : blocks.copies) copy.run(in[0], out[0]);
  });
}

std::unique_ptr<Kernel> make_batch_to_space(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), before = evens(spec.attrs.ints("crops"));
  require(before.size() == block.size() && x.shape.size() > block.size(), "crops and blockShape do not fit the input");
  const Blocks blocks = blocks_of(y.shape, x.shape, block, before, size_of(x.dtype), false);
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    for (const StridedCopy& copy : blocks.copies) copy.run(in[0], out[0]);
  });
}

std::unique_ptr<Kernel> make_depth_to_space(const NodeSpec& spec) {
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  require(spec.attrs.text("dataFormat", "NHWC") == "NHWC", "dataFormat must be NHWC");
  const int64_t block = spec.attrs.integer("blockSize");
  const int64_t batch = x.shape.at(0), height = x.shape.at(1), width = x.shape.at(2), depth = y.shape.at(3);
  // y[b, h, bh, w, bw, d] = x[b, h, w, bh, bw, d]
  const Shape sizes = {batch, height, block, width, block, depth};
  const int64_t pixel = block * block * depth;
  const Shape strides = {height * width * pixel, width * pixel, block * depth, pixel, depth, 1};
  const StridedCopy copy(sizes, strides, 0, strides_of(sizes), 0, size_of(x.dtype));
  return make_kernel([copy](const void* const* in, void* const* out, RunContext&) { copy.run(in[0], out[0]); });
}

}  // namespace

void register_block_kernels() {
  register_kernel("SpaceToBatchND", make_space_to_batch);
  register_kernel("BatchToSpaceND", make_batch_to_space);
  register_kernel("DepthToSpace", make_depth_to_space);
}

}  // namespace merak
