// Gradient norm and parameter updates, in chunks over the engine's threads.
#include "engine/optimizer.h"

#include <algorithm>  // std::min
#include <cmath>      // pow

#include "engine/error.h"            // EngineError
#include "ops/cpu/isa/optimizers.h"  // the loops

namespace merak {
namespace {

constexpr size_t kChunk = 1 << 15;

struct Span {
  const RankParameter* parameter;
  size_t begin, length;
};

std::vector<Span> chunks(const RankPlan& plan) {
  std::vector<Span> spans;
  for (const RankParameter& parameter : plan.parameters) {
    if (!parameter.trainable || parameter.gradient_offset < 0) continue;
    const size_t end = static_cast<size_t>(parameter.owned_end);
    for (size_t begin = static_cast<size_t>(parameter.owned_begin); begin < end; begin += kChunk)
      spans.push_back({&parameter, begin, std::min(kChunk, end - begin)});
  }
  return spans;
}

float* floats(const RankPlan& plan, std::byte* persistent, Space space, int64_t offset) {
  return reinterpret_cast<float*>(persistent + plan.spaces[static_cast<int>(space)].base + offset);
}

size_t num_moments(const OptimizerPlan& optimizer) {
  switch (optimizer.kind) {
    case OptimizerPlan::Kind::sgd: return 0;
    case OptimizerPlan::Kind::momentum: return 1;
    case OptimizerPlan::Kind::rmsprop: return optimizer.centered ? 3 : 2;
    default: return 2;
  }
}

}  // namespace

double local_square_sum(const RankPlan& plan, const std::byte* persistent) {
  const std::vector<Span> spans = chunks(plan);
  std::vector<double> partial(spans.size(), 0);
  const auto square_sum = MERAK_PICK(sum_of_squares);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < spans.size(); i++) {
    const RankParameter& parameter = *spans[i].parameter;
    if (!parameter.counts_in_norm) continue;
    const float* g = floats(plan, const_cast<std::byte*>(persistent), Space::gradients, parameter.gradient_offset);
    partial[i] = square_sum(g + spans[i].begin, spans[i].length);
  }
  double total = 0;
  for (const double part : partial) total += part;
  return total;
}

void update_parameters(const RankPlan& plan, std::byte* persistent, double learning_rate, int64_t updates, double scale) {
  const OptimizerPlan& o = plan.optimizer;
  const std::vector<Span> spans = chunks(plan);
  for (const Span& span : spans)
    if (span.parameter->moment_offsets.size() < num_moments(o))
      throw EngineError("plan/invalid", "parameter " + span.parameter->name + " has too few optimizer moments");
  const float lr = static_cast<float>(learning_rate), s = static_cast<float>(scale);
  const double t = static_cast<double>(updates);
  const RmsPropStep rms{lr, static_cast<float>(o.decay), static_cast<float>(1 - o.decay), static_cast<float>(o.momentum), static_cast<float>(o.epsilon), s};
  // tfjs keeps beta^t as a float32 product: its 1 - 0.999^t differs from the exact one in the fifth digit at first.
  const double power1 = std::pow(static_cast<float>(o.beta1), t), power2 = std::pow(static_cast<float>(o.beta2), t);
  AdamStep adam_step{lr, static_cast<float>(o.beta1), static_cast<float>(o.beta2), static_cast<float>(o.epsilon), s, 1,
                     static_cast<float>(1 - o.beta1), static_cast<float>(1 - o.beta2), static_cast<float>(1 / (1 - power1)),
                     static_cast<float>(1 / (1 - power2))};
  AdamStep decaying = adam_step;
  decaying.decay_factor = static_cast<float>(1 - learning_rate * o.weight_decay);
  const auto sgd_span = MERAK_PICK(sgd);
  const auto momentum_span = MERAK_PICK(momentum);
  const auto rmsprop_span = MERAK_PICK(rmsprop);
  const auto adam_span = MERAK_PICK(adam);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < spans.size(); i++) {
    const RankParameter& parameter = *spans[i].parameter;
    const size_t begin = spans[i].begin, n = spans[i].length;
    float* p = floats(plan, persistent, Space::parameters, parameter.offset) + begin;
    const float* g = floats(plan, persistent, Space::gradients, parameter.gradient_offset) + begin;
    const auto moment = [&](size_t k) { return floats(plan, persistent, Space::optimizer, parameter.moment_offsets[k]) + begin - parameter.owned_begin; };
    switch (o.kind) {
      case OptimizerPlan::Kind::sgd: sgd_span(p, g, lr, s, n); break;
      case OptimizerPlan::Kind::momentum:
        momentum_span(p, g, moment(0), lr, s, static_cast<float>(o.momentum), o.nesterov, n);
        break;
      case OptimizerPlan::Kind::rmsprop:
        rmsprop_span(p, g, moment(0), moment(1), o.centered ? moment(2) : nullptr, rms, n);
        break;
      case OptimizerPlan::Kind::adam:
        adam_span(p, g, moment(0), moment(1), parameter.decays ? decaying : adam_step, n);
        break;
    }
  }
}

}  // namespace merak
