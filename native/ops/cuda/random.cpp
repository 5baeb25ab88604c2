// MerakDropout and MerakRandom on CUDA. The first also takes `residual` (engine only), which is added to what it keeps.
#include <algorithm>  // min
#include <cmath>      // ceil

#include "ops/cpu/random_region.h"
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in random.cu.
struct Region {
  int num_dims, batch_dim;
  int64_t run_length, num_runs;
  int64_t shape[8], global[8], offsets[8];
  int64_t batch_extent, batches_before;
  uint32_t node;
};

Region region_of(const RandomRegion& from) {
  Region region{};
  region.num_dims = static_cast<int>(from.shape().size());
  region.batch_dim = static_cast<int>(from.batch_dim());
  region.run_length = from.run_length();
  region.num_runs = from.num_runs();
  std::copy(from.shape().begin(), from.shape().end(), region.shape);
  std::copy(from.global().begin(), from.global().end(), region.global);
  std::copy(from.offsets().begin(), from.offsets().end(), region.offsets);
  region.batch_extent = from.batch_step();
  region.node = from.node();
  return region;
}
Region of_replica(Region region, const RunContext& context) {
  region.batches_before = context.dp_index * context.num_micro_batches;
  return region;
}

// Four elements a thread, at most so many blocks that they stride.
unsigned grid_of(const Region& region) {
  return static_cast<unsigned>(std::min<int64_t>((region.num_runs * (region.run_length / 4 + 2) + 255) / 256, 1 << 16));
}

std::unique_ptr<Kernel> make_dropout(const NodeSpec& spec, Device& device) {
  const double rate = spec.attrs.number("rate");
  require(rate >= 0 && rate < 1, "rate must be in [0, 1)");
  require(spec.inputs[0].dtype == DType::f32, "x must be float32");
  const int residual = spec.input("residual");
  require(residual < 0 || (spec.inputs[static_cast<size_t>(residual)].dtype == DType::f32 && spec.inputs[static_cast<size_t>(residual)].shape == spec.inputs[0].shape),
          "residual must be float32, of the shape of x");
  const Region region = region_of(RandomRegion(spec, spec.inputs[0].shape));
  // uniform >= rate, on the 24 bits that make the uniform.
  const auto threshold = static_cast<uint32_t>(std::ceil(rate * 16777216.0));
  const auto scale = static_cast<float>(1 / (1 - rate));
  const CUfunction function = device.function("random", "dropout");
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const Region own = of_replica(region, context);
    const void* added = residual < 0 ? nullptr : in[residual];
    device.launch(function, {grid_of(own)}, {256}, 0, stream_of(context), {&in[0], &added, &out[0], &own, &threshold, &scale, &context.device_step});
  });
}

std::unique_ptr<Kernel> make_random(const NodeSpec& spec, Device& device) {
  const std::string kind = spec.attrs.text("kind", "");
  require(kind == "uniform" || kind == "normal", "kind must be 'uniform' or 'normal'");
  require(spec.outputs[0].dtype == DType::f32, "values must be float32");
  const Region region = region_of(RandomRegion(spec, spec.attrs.ints("shape")));
  const double a = spec.attrs.number("a"), b = spec.attrs.number("b");
  const CUfunction function = device.function("random", "random_" + kind);
  return make_kernel([=, &device](const void* const*, void* const* out, RunContext& context) {
    const Region own = of_replica(region, context);
    device.launch(function, {grid_of(own)}, {256}, 0, stream_of(context), {&out[0], &own, &a, &b, &context.device_step});
  });
}

}  // namespace

void register_cuda_random() {
  register_cuda_kernel("MerakDropout", make_dropout);
  register_cuda_kernel("MerakRandom", make_random);
}

}  // namespace merak
