// MerakDropout: keeps or drops each element by its own random number.
#include <cmath>  // ceil

#include "ops/cpu/make_kernel.h"    // make_kernel
#include "ops/cpu/random_region.h"  // RandomRegion

namespace merak {
namespace {

std::unique_ptr<Kernel> make_dropout(const NodeSpec& spec) {
  const double rate = spec.attrs.number("rate");
  require(rate >= 0 && rate < 1, "rate must be in [0, 1)");
  require(spec.inputs[0].dtype == DType::f32, "x must be float32");
  const RandomRegion region(spec, spec.inputs[0].shape);
  // uniform >= rate, on the 24 bits that make the uniform.
  const uint32_t threshold = static_cast<uint32_t>(std::ceil(rate * 16777216.0));
  const float scale = static_cast<float>(1 / (1 - rate));
  const auto keep = MERAK_PICK(keep_or_drop);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext& context) {
    const auto* x = static_cast<const float*>(inputs[0]);
    auto* y = static_cast<float*>(outputs[0]);
    for_each_words(region, context, [&](int64_t first, const uint32_t* words, int64_t count, int64_t) {
      keep(x + first, words, threshold, scale, y + first, static_cast<size_t>(count));
    });
  });
}

}  // namespace

void register_dropout_kernels() { register_kernel("MerakDropout", make_dropout); }

}  // namespace merak
