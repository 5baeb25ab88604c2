// The end of a training step on the card: square sums, clipping, the update of all parameters in one launch, checks for NaN. Everything
// is enqueued; what differs from step to step is read from MerakStep.
#pragma once
#include <memory>   // tables on the card
#include <utility>  // spans
#include <vector>   // spans

#include "cuda/device.h"               // Device
#include "cuda/rounded_weights.h"      // RoundedWeights
#include "engine/program.h"            // RankPlan
#include "ops/cuda/device/step.cuh"    // MerakStep

namespace merak::cuda {

// Of the parameters of one rank, whose persistent arena begins at `persistent` (device memory). `rounded`: the type of copies that it can write.
class Optimizer {
 public:
  Optimizer(Device& device, const RankPlan& plan, std::byte* persistent, std::optional<DType> rounded);
  ~Optimizer();

  // Updates write these copies from now on, those of captured graphs too. Between steps. False where they are of another type: none is written.
  bool keep(const RoundedWeights& weights);
  // Device memory that the calls below work in, beside the arenas.
  size_t bytes() const;
  // *sum = the squares of this rank's gradients that count in the norm times `factor`, in double, in a fixed order.
  void square_sum(double* sum, double factor, CUstream stream);
  // step->norm = sqrt(sum of `count` parts) * step->scale / step->loss_scale; step->clip so that the norm is at most clip_norm (0: any).
  // Where it is not finite step->bad says `bad`: MERAK_NORM_NOT_FINITE, or MERAK_OVERFLOW of a loss that is scaled.
  void clip(const double* parts, int count, double clip_norm, int bad, MerakStep* step, CUstream stream);
  // One update of all trainable parameters; nothing where step->bad.
  void update(const MerakStep* step, CUstream stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// step->bad and step->bad_micro (which keep what was found first): whether `metric` (null: none) is finite, whether any float of
// the spans (offset and length of floats in `slot`) is NaN.
class FiniteCheck {
 public:
  FiniteCheck(Device& device, const std::vector<std::pair<int64_t, int64_t>>& spans);
  ~FiniteCheck();
  void run(const float* metric, const std::byte* slot, MerakStep* step, CUstream stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// data[i] *= factor.
void scale(Device& device, float* data, size_t count, float factor, CUstream stream);

}  // namespace merak::cuda
