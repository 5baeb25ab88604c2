// Copies, their table, the launch that rounds them.
#include "cuda/rounded_weights.h"

#include <algorithm>  // any_of
#include <cstdlib>    // getenv
#include <cstring>    // strcmp

#include "ops/cuda/launch.h"

namespace merak::cuda {
namespace {

constexpr int64_t kPieceLength = 8192;

// As in rounded_weights.cu: what one block rounds.
struct Piece {
  const float* from;
  void* to;
  int length;
};

int64_t bytes_of(const RoundedWeight& weight) { return weight.count * static_cast<int64_t>(sizeof(float)); }

}  // namespace

std::shared_ptr<RoundedWeights> RoundedWeights::make(std::shared_ptr<Device> device) {
  const char* asked = std::getenv("MERAK_ROUNDED_WEIGHTS");
  if (asked && std::strcmp(asked, "off") == 0) return nullptr;
  return std::shared_ptr<RoundedWeights>(new RoundedWeights(std::move(device)));
}

std::shared_ptr<RoundedWeight> RoundedWeights::at(int64_t offset, int64_t count, DType type) {
  if (count == 0) return nullptr;
  for (const auto& [begin, weight] : weights_) {
    if (begin == offset && weight->count == count && weight->type == type) return weight;
    const bool meets = begin < offset + count * static_cast<int64_t>(sizeof(float)) && offset < begin + bytes_of(*weight);
    if (meets || weight->type != type) return nullptr;
  }
  auto weight = std::make_shared<RoundedWeight>();
  weight->count = count;
  weight->type = type;
  weights_.emplace(offset, weight);
  return weight;
}

std::map<int64_t, size_t> RoundedWeights::bytes() const {
  std::map<int64_t, size_t> bytes;
  for (const auto& [offset, weight] : weights_)
    bytes[offset] = rounded_up(static_cast<size_t>(weight->count) * size_of(weight->type)) + blocks_for(weight->count, kPieceLength) * sizeof(Piece);
  return bytes;
}

bool RoundedWeights::settle(const RankPlan& plan, std::byte* persistent) {
  bool is_new = false;
  for (const auto& [offset, weight] : weights_) {
    if (weight->memory.data || weight.use_count() == 1) continue;
    weight->memory = device_memory(device_, "a weight in 16 bits", rounded_up(static_cast<size_t>(weight->count) * size_of(weight->type)));
    is_new = true;
  }
  const size_t gone = std::erase_if(weights_, [](const auto& entry) { return entry.second.use_count() == 1; });
  if (gone == 0 && !is_new) return false;
  std::byte* parameters = persistent + plan.spaces[static_cast<int>(Space::parameters)].base;
  std::vector<Piece> pieces;
  is_followed_ = true;
  for (const auto& [offset, weight] : weights_) {
    const size_t size = size_of(weight->type);
    for (int64_t begin = 0; begin < weight->count; begin += kPieceLength)
      pieces.push_back({reinterpret_cast<const float*>(parameters + offset) + begin, weight->memory.data + static_cast<size_t>(begin) * size,
                        static_cast<int>(std::min(kPieceLength, weight->count - begin))});
    is_followed_ = is_followed_ && std::any_of(plan.parameters.begin(), plan.parameters.end(), [&, at = offset, count = weight->count](const RankParameter& parameter) {
      return parameter.offset == at && parameter.type.numel() == count;
    });
  }
  num_pieces_ = pieces.size();
  table_ = {};
  if (!pieces.empty()) {
    table_ = device_memory(device_, "the table of weights in 16 bits", pieces.size() * sizeof(Piece));
    check(driver().cuMemcpyHtoD(address_of(table_.data), pieces.data(), table_.bytes), "cuMemcpyHtoD");
    round_ = device_->function("rounded_weights", "round_weights", {define("TO", *type())});
  }
  state_ = 0;
  return true;
}

std::byte* RoundedWeights::copy_of(int64_t offset, int64_t count) const {
  const auto after = weights_.upper_bound(offset);
  if (after == weights_.begin()) return nullptr;
  const auto& [begin, weight] = *std::prev(after);
  if (offset + count * static_cast<int64_t>(sizeof(float)) > begin + bytes_of(*weight)) return nullptr;
  return weight->memory.data + (offset - begin) / static_cast<int64_t>(sizeof(float)) * static_cast<int64_t>(size_of(weight->type));
}

std::optional<DType> RoundedWeights::type() const {
  return weights_.empty() ? std::nullopt : std::optional<DType>(weights_.begin()->second->type);
}

void RoundedWeights::bring_up(uint64_t state, CUstream stream) {
  if (num_pieces_ == 0 || state_ == state) return;
  const void* pieces = table_.data;
  device_->launch(round_, {static_cast<unsigned>(num_pieces_)}, {256}, 0, stream, {&pieces});
  state_ = state;
}

}  // namespace merak::cuda
