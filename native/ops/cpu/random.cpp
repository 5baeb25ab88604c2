// MerakRandom: uniform or normal values drawn anew each step.
#include <cmath>  // log, sin, cos

#include "ops/cpu/make_kernel.h"    // make_kernel
#include "ops/cpu/random_region.h"  // RandomRegion

namespace merak {
namespace {

constexpr double kTwoPi = 6.283185307179586;

double uniform(uint32_t word) { return (word >> 8) * 0x1p-24; }

// `mean` + `stddev` times the standard normals of `count` words from `position` of the first block on: by Box-Muller, a pair at a
// time. As a float before it is scaled, as in src/graph/initialize.ts.
void normals(const uint32_t* blocks, int64_t position, int64_t count, double mean, double stddev, float* out) {
  const auto scaled = [&](double normal) { return static_cast<float>(mean + stddev * static_cast<double>(static_cast<float>(normal))); };
  for (int64_t i = 0; i < count;) {
    const int64_t at = position + i;
    const uint32_t* pair = blocks + (at & ~int64_t{1});
    const double radius = std::sqrt(-2 * std::log(uniform(pair[0]) + 0x1p-25));
    const double angle = kTwoPi * uniform(pair[1]);
    const double first = radius * std::cos(angle), second = radius * std::sin(angle);
    if ((at & 1) == 0) out[i++] = scaled(first);
    if (i < count) out[i++] = scaled(second);
  }
}

std::unique_ptr<Kernel> make_random(const NodeSpec& spec) {
  const std::string kind = spec.attrs.text("kind", "");
  require(kind == "uniform" || kind == "normal", "kind must be 'uniform' or 'normal'");
  require(spec.outputs[0].dtype == DType::f32, "values must be float32");
  const RandomRegion region(spec, spec.attrs.ints("shape"));
  const double a = spec.attrs.number("a"), b = spec.attrs.number("b");
  const bool is_normal = kind == "normal";
  return make_kernel([=](const void* const*, void* const* outputs, RunContext& context) {
    auto* out = static_cast<float*>(outputs[0]);
    for_each_words(region, context, [&](int64_t first, const uint32_t* words, int64_t count, int64_t position) {
      if (is_normal) return normals(words - position, position, count, a, b, out + first);
      for (int64_t i = 0; i < count; i++) out[first + i] = static_cast<float>(a + (b - a) * uniform(words[i]));
    });
  });
}

}  // namespace

void register_random_kernels() { register_kernel("MerakRandom", make_random); }

}  // namespace merak
