// MerakRandom: uniform or normal values drawn anew each step.
#include <cmath>  // log, cos

#include "ops/cpu/make_kernel.h"    // make_kernel
#include "ops/cpu/random_region.h"  // RandomRegion

namespace merak {
namespace {

constexpr double kTwoPi = 6.283185307179586;

double uniform(uint32_t word) { return (word >> 8) * 0x1p-24; }

// Standard normal of the word at `position` of its block.
float normal(const uint32_t* block, int64_t position) {
  const int64_t first = position & 2;
  const double radius = std::sqrt(-2 * std::log(uniform(block[first]) + 0x1p-25));
  const double angle = kTwoPi * uniform(block[first + 1]);
  return static_cast<float>(radius * (position & 1 ? std::sin(angle) : std::cos(angle)));
}

std::unique_ptr<Kernel> make_random(const NodeSpec& spec) {
  const std::string kind = spec.attrs.text("kind", "");
  require(kind == "uniform" || kind == "normal", "kind must be 'uniform' or 'normal'");
  require(spec.outputs[0].dtype == DType::f32, "values must be float32");
  const RandomRegion region(spec, spec.attrs.ints("shape"));
  const double a = spec.attrs.number("a"), b = spec.attrs.number("b");
  const bool is_normal = kind == "normal";
  const auto philox = MERAK_PICK(philox_blocks);
  return make_kernel([=](const void* const*, void* const* outputs, RunContext& context) {
    auto* out = static_cast<float*>(outputs[0]);
    const RandomStream stream = region.stream(context);
    if (!is_normal) {
      for_each_words(region, context, [&](int64_t first, const uint32_t* words, int64_t count) {
        for (int64_t i = 0; i < count; i++) out[first + i] = static_cast<float>(a + (b - a) * uniform(words[i]));
      });
      return;
    }
    // A normal needs its whole pair, which may begin before the run does.
    for (int64_t run = 0; run < region.num_runs(); run++) {
      const uint64_t start = region.run_start(run, context);
      float* values = out + run * region.run_length();
      uint32_t block[4];
      uint64_t current = ~uint64_t{0};
      for (int64_t i = 0; i < region.run_length(); i++) {
        const uint64_t index = start + static_cast<uint64_t>(i);
        if (index / 4 != current) philox(stream, current = index / 4, 1, block);
        values[i] = static_cast<float>(a + b * static_cast<double>(normal(block, static_cast<int64_t>(index % 4))));
      }
    }
  });
}

}  // namespace

void register_random_kernels() { register_kernel("MerakRandom", make_random); }

}  // namespace merak
