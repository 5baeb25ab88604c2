// MerakRandom: uniform or normal values drawn anew each step.
#include "ops/cpu/isa/normals.h"    // scaled_normals
#include "ops/cpu/make_kernel.h"    // make_kernel
#include "ops/cpu/random_region.h"  // RandomRegion

namespace merak {
namespace {

double uniform(uint32_t word) { return (word >> 8) * 0x1p-24; }

// Of `count` words from `position` of the first block on: pairs are made whole, which a piece may begin or end within.
void normals(const uint32_t* blocks, int64_t position, int64_t count, double mean, double stddev, float* out) {
  const auto scaled_normals = MERAK_PICK(scaled_normals);
  const int64_t odd = position & 1, whole = (count - odd) / 2;
  const uint32_t* pairs = blocks + position + odd;
  float pair[2];
  if (odd) {
    scaled_normals(pairs - 2, 1, mean, stddev, pair);
    *out++ = pair[1];
  }
  scaled_normals(pairs, static_cast<size_t>(whole), mean, stddev, out);
  if (odd + 2 * whole == count) return;
  scaled_normals(pairs + 2 * whole, 1, mean, stddev, pair);
  out[2 * whole] = pair[0];
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
