// Optimizer and FiniteCheck of optimizer.h.
#include "ops/cuda/optimizer.h"

#include <algorithm>  // min
#include <string>     // macros

#include "engine/error.h"  // EngineError
#include "ops/cuda/launch.h"

namespace merak::cuda {
namespace {

constexpr int64_t kPieceLength = 8192;

// As in optimizer.cu.
struct Piece {
  float* parameter;
  const float* gradient;
  float* moments[3];
  int length;
  int decays, counts;
  std::byte* rounded;
};
struct Settings {
  float beta1, beta2, take1, take2, epsilon, momentum, decay, take;
};
struct Floats {
  int64_t offset, length;
};

size_t num_moments(const OptimizerPlan& optimizer) {
  switch (optimizer.kind) {
    case OptimizerPlan::Kind::sgd: return 0;
    case OptimizerPlan::Kind::momentum: return 1;
    case OptimizerPlan::Kind::rmsprop: return optimizer.centered ? 3 : 2;
    default: return 2;
  }
}

int number_of(OptimizerPlan::Kind kind) {
  switch (kind) {
    case OptimizerPlan::Kind::sgd: return 0;
    case OptimizerPlan::Kind::momentum: return 1;
    case OptimizerPlan::Kind::rmsprop: return 2;
    default: return 3;
  }
}

std::vector<Piece> pieces_of(const RankPlan& plan, std::byte* persistent) {
  const auto floats = [&](Space space, int64_t offset) {
    return reinterpret_cast<float*>(persistent + plan.spaces[static_cast<int>(space)].base + offset);
  };
  std::vector<Piece> pieces;
  const size_t moments = num_moments(plan.optimizer);
  for (const RankParameter& parameter : plan.parameters) {
    // With the optimizer in pieces a rank may own nothing of a parameter, and has no moments then.
    if (!parameter.trainable || parameter.gradient_offset < 0 || parameter.owned_begin == parameter.owned_end) continue;
    if (parameter.moment_offsets.size() < moments) throw EngineError("plan/invalid", "parameter " + parameter.name + " has too few optimizer moments");
    for (int64_t begin = parameter.owned_begin; begin < parameter.owned_end; begin += kPieceLength) {
      Piece piece{};
      piece.parameter = floats(Space::parameters, parameter.offset) + begin;
      piece.gradient = floats(Space::gradients, parameter.gradient_offset) + begin;
      for (size_t k = 0; k < moments; k++) piece.moments[k] = floats(Space::optimizer, parameter.moment_offsets[k]) + begin - parameter.owned_begin;
      piece.length = static_cast<int>(std::min(kPieceLength, parameter.owned_end - begin));
      piece.decays = parameter.decays;
      piece.counts = parameter.counts_in_norm;
      pieces.push_back(piece);
    }
  }
  return pieces;
}

// Device memory with these bytes in it.
class Table {
 public:
  Table(Device& device, const void* from, size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    device.make_current();
    check(driver().cuMemAlloc(&address_, bytes), "cuMemAlloc");
    if (from) check(driver().cuMemcpyHtoD(address_, from, bytes), "cuMemcpyHtoD");
  }
  ~Table() {
    if (address_) driver().cuMemFree(address_);
  }
  Table(const Table&) = delete;
  void* data() const { return reinterpret_cast<void*>(address_); }
  size_t bytes() const { return bytes_; }

 private:
  CUdeviceptr address_ = 0;
  size_t bytes_;
};

}  // namespace

struct Optimizer::State {
  Device& device;
  std::optional<DType> rounded;
  const std::byte* parameters;
  std::vector<Piece> made;
  Table pieces, parts;
  Settings settings;
  CUfunction squares, total, clip, update;

  State(Device& on, const RankPlan& plan, std::byte* persistent, std::optional<DType> type)
      : device(on), rounded(type), parameters(persistent + plan.spaces[static_cast<int>(Space::parameters)].base), made(pieces_of(plan, persistent)), pieces(on, made.data(), made.size() * sizeof(Piece)), parts(on, nullptr, made.size() * sizeof(double)) {
    const OptimizerPlan& o = plan.optimizer;
    const auto narrow = [](double x) { return static_cast<float>(x); };
    settings = {narrow(o.beta1), narrow(o.beta2), narrow(1 - o.beta1), narrow(1 - o.beta2), narrow(o.epsilon), narrow(o.momentum), narrow(o.decay), narrow(1 - o.decay)};
    std::vector<std::string> defines = {define("KIND", number_of(o.kind)), define("NESTEROV", o.nesterov), define("CENTERED", o.centered)};
    if (rounded) defines.push_back(define("ROUNDED", *rounded));
    squares = device.function("optimizer", "square_sums", defines);
    total = device.function("optimizer", "total_of", defines);
    clip = device.function("optimizer", "clip_of", defines);
    update = device.function("optimizer", "update", defines);
  }
};

Optimizer::Optimizer(Device& device, const RankPlan& plan, std::byte* persistent, std::optional<DType> rounded)
    : state_(std::make_unique<State>(device, plan, persistent, rounded)) {}
Optimizer::~Optimizer() = default;
bool Optimizer::keep(const RoundedWeights& weights) {
  State& s = *state_;
  if (s.made.empty()) return true;
  const bool can = weights.type() == s.rounded;
  for (Piece& piece : s.made) piece.rounded = can ? weights.copy_of(reinterpret_cast<const std::byte*>(piece.parameter) - s.parameters, piece.length) : nullptr;
  check(driver().cuMemcpyHtoD(address(s.pieces.data()), s.made.data(), s.pieces.bytes()), "cuMemcpyHtoD");
  return can;
}
size_t Optimizer::bytes() const { return state_->pieces.bytes() + state_->parts.bytes(); }

void Optimizer::square_sum(double* sum, double factor, CUstream stream) {
  const State& s = *state_;
  const int count = static_cast<int>(s.made.size());
  const void *pieces = s.pieces.data(), *parts = s.parts.data();
  state_->device.launch(s.squares, {static_cast<unsigned>(count)}, {256}, 0, stream, {&pieces, &parts});
  state_->device.launch(s.total, {1}, {1024}, 0, stream, {&parts, &count, &factor, &sum});
}

void Optimizer::clip(const double* parts, int count, double clip_norm, int bad, MerakStep* step, CUstream stream) {
  state_->device.launch(state_->clip, {1}, {1}, 0, stream, {&parts, &count, &clip_norm, &bad, &step});
}

void Optimizer::update(const MerakStep* step, CUstream stream) {
  const void* pieces = state_->pieces.data();
  state_->device.launch(state_->update, {static_cast<unsigned>(state_->made.size())}, {256}, 0, stream, {&pieces, &state_->settings, &step});
}

struct FiniteCheck::State {
  Device& device;
  std::vector<Floats> made;
  Table spans;
  CUfunction function;

  State(Device& on, const std::vector<std::pair<int64_t, int64_t>>& list) : device(on), made(floats_of(list)), spans(on, made.data(), made.size() * sizeof(Floats)) {
    function = device.function("optimizer", "check_finite", {define("KIND", int64_t{0}), define("NESTEROV", int64_t{0}), define("CENTERED", int64_t{0})});
  }
  static std::vector<Floats> floats_of(const std::vector<std::pair<int64_t, int64_t>>& list) {
    std::vector<Floats> all;
    for (const auto& [offset, length] : list) all.push_back({offset, length});
    return all;
  }
};

FiniteCheck::FiniteCheck(Device& device, const std::vector<std::pair<int64_t, int64_t>>& spans) : state_(std::make_unique<State>(device, spans)) {}
FiniteCheck::~FiniteCheck() = default;

void FiniteCheck::run(const float* metric, const std::byte* slot, MerakStep* step, CUstream stream) {
  const State& s = *state_;
  const int count = static_cast<int>(s.made.size());
  const void* spans = s.spans.data();
  state_->device.launch(s.function, {static_cast<unsigned>(count + 1), count ? 64u : 1u}, {256}, 0, stream, {&spans, &count, &metric, &slot, &step});
}

void scale(Device& device, float* data, size_t count, float factor, CUstream stream) {
  const CUfunction function = device.function("convert", "scale", {define("FROM", DType::f32), define("TO", DType::f32)});
  const auto n = static_cast<int64_t>(count);
  device.launch(function, {blocks_for(n, 256)}, {256}, 0, stream, {&data, &n, &factor});
}

}  // namespace merak::cuda
