// MerakBatchNorm and MerakBatchNormGrad: two passes over memory each. Blocks that stay in cache are summed one by one and put together
// in their order, which depends on the sizes alone, so that no number of threads changes a bit.
#include <cmath>    // sqrt
#include <cstring>  // memset

#include "ops/cpu/isa/batch_norm.h"  // the loops
#include "ops/cpu/make_kernel.h"     // make_kernel
#include "ops/cpu/parallel.h"        // parallel_for

namespace merak {
namespace {

// Few channels are repeated to about so many numbers, which keep the vector units busy.
constexpr int64_t kWidth = 64;
constexpr int64_t kMinRows = 16;  // of a block, so that its sums are small beside it

// How x [..., channels] is cut.
struct Blocks {
  int64_t channels, numel, width, block, num_blocks;

  int64_t rows() const { return numel / channels; }
  int64_t begin(int64_t b) const { return b * block; }
  int64_t length(int64_t b) const { return std::min(block, numel - b * block); }

  // Sums that were left `width` long, added up per channel.
  void fold(float* sums) const {
    for (int64_t i = channels; i < width; i++) sums[i % channels] += sums[i];
  }
  void repeat(float* values) const {
    for (int64_t i = channels; i < width; i++) values[i] = values[i - channels];
  }
};

Blocks blocks_of(const NodeSpec& spec) {
  const TensorType& x = spec.inputs[input_index(spec, "x")];
  require(!x.shape.empty(), "x must have channels");
  const int64_t channels = std::max<int64_t>(1, x.shape.back());
  const int64_t width = channels * std::max<int64_t>(1, kWidth / channels);
  const int64_t runs = std::max(std::max<int64_t>(1, kParallelGrain / width), (kMinRows * channels + width - 1) / width);
  return {channels, x.numel(), width, runs * width, (x.numel() + runs * width - 1) / (runs * width)};
}

const float* optional(const void* const* inputs, int index) {
  return index < 0 ? nullptr : static_cast<const float*>(inputs[index]);
}

// Mean and biased variance per channel: two passes over each block while it is in cache, blocks by Chan, Golub and LeVeque's update.
template <class Sums, class Squares>
void statistics(const Blocks& cut, const float* x, double* totals, float* slots, float* mean, float* variance, Sums sums, Squares squares) {
  const auto width = static_cast<size_t>(cut.width);
  parallel_for(cut.num_blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      float* means = slots + 2 * cut.width * b;
      float* spreads = means + cut.width;
      const auto length = static_cast<size_t>(cut.length(b));
      std::memset(means, 0, 2 * width * sizeof(float));
      sums(x + cut.begin(b), means, length, width);
      cut.fold(means);
      for (int64_t c = 0; c < cut.channels; c++) means[c] *= static_cast<float>(cut.channels) / static_cast<float>(cut.length(b));
      cut.repeat(means);
      squares(x + cut.begin(b), means, spreads, length, width);
      cut.fold(spreads);
    }
  });
  double *means = totals, *spreads = totals + cut.channels;
  std::memset(totals, 0, 2 * static_cast<size_t>(cut.channels) * sizeof(double));
  double count = 0;
  for (int64_t b = 0; b < cut.num_blocks; b++) {
    const double more = static_cast<double>(cut.length(b) / cut.channels), share = more / (count + more);
    const float* slot = slots + 2 * cut.width * b;
    for (int64_t c = 0; c < cut.channels; c++) {
      const double distance = slot[c] - means[c];
      means[c] += distance * share;
      spreads[c] += slot[cut.width + c] + distance * distance * count * share;
    }
    count += more;
  }
  for (int64_t c = 0; c < cut.channels; c++) {
    mean[c] = static_cast<float>(means[c]);
    variance[c] = static_cast<float>(spreads[c] / count);
  }
}

std::unique_ptr<Kernel> make_batch_norm(const NodeSpec& spec) {
  const size_t ix = input_index(spec, "x"), ig = input_index(spec, "gamma"), ib = input_index(spec, "beta");
  const int ir = spec.input("residual");
  const Blocks cut = blocks_of(spec);
  const double epsilon = spec.attrs.number("epsilon");
  const bool relu = spec.attrs.text("activation", "linear") == "relu";
  const auto sums = MERAK_PICK(channel_sums);
  const auto squares = MERAK_PICK(channel_squares);
  const auto normalise = MERAK_PICK(channel_normalise);
  const auto width = static_cast<size_t>(cut.width), channels = static_cast<size_t>(cut.channels);
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        if (cut.numel == 0) return;
        const auto *x = static_cast<const float*>(inputs[ix]), *gamma = static_cast<const float*>(inputs[ig]),
                   *beta = static_cast<const float*>(inputs[ib]), *residual = optional(inputs, ir);
        auto *y = static_cast<float*>(outputs[0]), *mean = static_cast<float*>(outputs[1]), *variance = static_cast<float*>(outputs[2]);
        auto* totals = static_cast<double*>(context.scratch);
        auto* means = reinterpret_cast<float*>(totals + 2 * channels);
        float *scales = means + width, *offsets = scales + width;
        statistics(cut, x, totals, offsets + width, mean, variance, sums, squares);
        for (size_t c = 0; c < channels; c++) {
          means[c] = mean[c];
          scales[c] = static_cast<float>(gamma[c] / std::sqrt(variance[c] + epsilon));
          offsets[c] = beta[c];
        }
        for (float* values : {means, scales, offsets}) cut.repeat(values);
        parallel_for(cut.numel, cut.block, [&](int64_t begin, int64_t end) {
          normalise(x + begin, residual ? residual + begin : nullptr, means, scales, offsets, relu, y + begin,
                    static_cast<size_t>(end - begin), width);
        });
      },
      2 * channels * sizeof(double) + (3 + 2 * static_cast<size_t>(cut.num_blocks)) * width * sizeof(float));
}

// With d the gradient behind the activation and N rows: dbeta = sum d, dgamma = rstd sum d (x - mean),
// dx = gamma rstd (d - dbeta / N - (x - mean) rstd dgamma / N) (Ioffe and Szegedy 2015, section 3).
std::unique_ptr<Kernel> make_batch_norm_grad(const NodeSpec& spec) {
  const size_t idy = input_index(spec, "dy"), ix = input_index(spec, "x"), ig = input_index(spec, "gamma"),
               im = input_index(spec, "mean"), iv = input_index(spec, "variance");
  const int iy = spec.input("y");
  const bool passes = spec.outputs.size() == 4;
  const Blocks cut = blocks_of(spec);
  const double epsilon = spec.attrs.number("epsilon");
  const auto grad_sums = MERAK_PICK(channel_grad_sums);
  const auto grad = MERAK_PICK(channel_grad);
  const auto width = static_cast<size_t>(cut.width), channels = static_cast<size_t>(cut.channels);
  const size_t empty = spec.outputs[1].bytes();
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        auto *dx = static_cast<float*>(outputs[0]), *dgamma = static_cast<float*>(outputs[1]), *dbeta = static_cast<float*>(outputs[2]);
        auto* dresidual = passes ? static_cast<float*>(outputs[3]) : nullptr;
        if (cut.numel == 0) {
          if (empty) std::memset(dgamma, 0, empty), std::memset(dbeta, 0, empty);
          return;
        }
        const auto *dy = static_cast<const float*>(inputs[idy]), *x = static_cast<const float*>(inputs[ix]),
                   *gamma = static_cast<const float*>(inputs[ig]), *mean = static_cast<const float*>(inputs[im]),
                   *variance = static_cast<const float*>(inputs[iv]), *y = optional(inputs, iy);
        float* means = static_cast<float*>(context.scratch);
        float *slopes = means + width, *shifts = slopes + width, *tilts = shifts + width, *slots = tilts + width;
        std::memcpy(means, mean, channels * sizeof(float));
        cut.repeat(means);
        parallel_for(cut.num_blocks, 1, [&](int64_t first, int64_t last) {
          for (int64_t b = first; b < last; b++) {
            const int64_t at = cut.begin(b);
            float *sums = slots + 2 * cut.width * b, *products = sums + width;
            std::memset(sums, 0, 2 * width * sizeof(float));
            grad_sums(dy + at, y ? y + at : nullptr, x + at, means, sums, products, static_cast<size_t>(cut.length(b)), width);
            cut.fold(sums);
            cut.fold(products);
          }
        });
        for (size_t c = 0; c < channels; c++) {
          double sum = 0, product = 0;
          for (int64_t b = 0; b < cut.num_blocks; b++) {
            const float* slot = slots + 2 * cut.width * b + c;
            sum += slot[0];
            product += slot[width];
          }
          const double rstd = 1 / std::sqrt(variance[c] + epsilon), rows = static_cast<double>(cut.rows());
          dbeta[c] = static_cast<float>(sum);
          dgamma[c] = static_cast<float>(product * rstd);
          slopes[c] = static_cast<float>(gamma[c] * rstd);
          shifts[c] = static_cast<float>(sum / rows);
          tilts[c] = static_cast<float>(product * rstd * rstd / rows);
        }
        for (float* values : {slopes, shifts, tilts}) cut.repeat(values);
        parallel_for(cut.numel, cut.block, [&](int64_t begin, int64_t end) {
          grad(dy + begin, y ? y + begin : nullptr, x + begin, means, slopes, shifts, tilts, dx + begin,
               dresidual ? dresidual + begin : nullptr, static_cast<size_t>(end - begin), width);
        });
      },
      (4 + 2 * static_cast<size_t>(cut.num_blocks)) * width * sizeof(float));
}

}  // namespace

void register_batch_norm_kernels() {
  register_kernel("MerakBatchNorm", make_batch_norm);
  register_kernel("MerakBatchNormGrad", make_batch_norm_grad);
}

}  // namespace merak
