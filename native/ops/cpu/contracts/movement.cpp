// Kernels that move elements: transposes, slices, paddings, blocks.
#include <set>  // permutations

#include "ops/cpu/contracts/checks.h"  // checks of tensors
#include "ops/cpu/contracts/rules.h"   // Rules

namespace merak::contracts {
namespace {

void blocks(const NodeSpec& spec, const TensorType& image, const TensorType& batched, const char* edges) {
  same_dtype(spec);
  const std::vector<int64_t> block = spec.attrs.ints("blockShape"), pairs = spec.attrs.ints(edges);
  require(pairs.size() == 2 * block.size() && image.shape.size() > block.size() && batched.shape.size() == image.shape.size(),
          "blockShape does not fit the tensors");
  int64_t num_blocks = 1;
  for (size_t d = 0; d < block.size(); d++) {
    require(block[d] > 0 && block[d] <= (1 << 20), "a block must have a positive size");
    num_blocks *= block[d];
    require(num_blocks <= (1 << 20), "blocks are too large");
    require(pairs[2 * d] >= 0 && pairs[2 * d + 1] >= 0, "edges must not be negative");
    require(batched.shape[d + 1] * block[d] == image.shape[d + 1] + pairs[2 * d] + pairs[2 * d + 1], "spatial dims do not fit the blocks");
  }
  require(batched.shape[0] == image.shape[0] * num_blocks, "the batch does not fit the blocks");
  for (size_t d = block.size() + 1; d < image.shape.size(); d++) require(image.shape[d] == batched.shape[d], "the last dims differ");
}

}  // namespace

void add_movement_rules(Rules& rules) {
  rules.add({"Transpose"}, [](const NodeSpec& s) {
    same_dtype(s);
    const std::vector<int64_t> perm = s.attrs.ints("perm");
    const Shape &x = s.inputs[0].shape, &y = out(s).shape;
    require(perm.size() == x.size() && y.size() == x.size(), "perm must name every dim");
    std::set<int64_t> seen(perm.begin(), perm.end());
    for (size_t d = 0; d < perm.size(); d++)
      require(seen.size() == perm.size() && perm[d] >= 0 && perm[d] < static_cast<int64_t>(x.size()) && y[d] == x[static_cast<size_t>(perm[d])],
              "perm must name every dim once, and the result be so permuted");
  });
  rules.add({"Slice"}, [](const NodeSpec& s) {
    same_dtype(s);
    const Shape &x = s.inputs[0].shape, &y = out(s).shape;
    const size_t named = s.attrs.ints("begin").size();
    require(x.size() == y.size() && named <= x.size(), "a slice keeps the rank");
    for (size_t d = named; d < x.size(); d++) require(y[d] <= x[d], "the slice leaves the tensor");
  });
  rules.add({"StridedSlice", "BroadcastTo", "SplitV", "Unpack", "Concat", "Pack"}, same_dtype);
  rules.add({"Tile"}, [](const NodeSpec& s) {
    same_dtype(s);
    const Shape &x = s.inputs[0].shape, &y = out(s).shape;
    require(x.size() == y.size(), "tiling keeps the rank");
    for (size_t d = 0; d < x.size(); d++) require(x[d] == 0 ? y[d] == 0 : y[d] % x[d] == 0, "a dim is no multiple of the input's");
  });
  rules.add({"PadV2", "MirrorPad"}, [](const NodeSpec& s) {
    same_dtype(s);
    const Shape &x = s.inputs[0].shape, &y = out(s).shape;
    const std::vector<int64_t> p = s.attrs.ints("paddings");
    require(x.size() == y.size() && p.size() == 2 * x.size(), "paddings must give two numbers for every dim");
    for (size_t d = 0; d < x.size(); d++)
      require(p[2 * d] >= 0 && p[2 * d + 1] >= 0 && y[d] == x[d] + p[2 * d] + p[2 * d + 1], "the result does not fit the paddings");
  });
  rules.add({"SpaceToBatchND"}, [](const NodeSpec& s) { blocks(s, s.inputs[0], out(s), "paddings"); });
  rules.add({"BatchToSpaceND"}, [](const NodeSpec& s) { blocks(s, out(s), s.inputs[0], "crops"); });
  rules.add({"DepthToSpace"}, [](const NodeSpec& s) {
    same_dtype(s);
    const Shape &x = s.inputs[0].shape, &y = out(s).shape;
    const int64_t block = s.attrs.integer("blockSize");
    require(x.size() == 4 && block > 0 && block <= 4096, "the input must be an image, blockSize positive");
    require(y == Shape({x[0], x[1] * block, x[2] * block, x[3] / (block * block)}) && x[3] % (block * block) == 0, "the result does not fit blockSize");
  });
}

}  // namespace merak::contracts
