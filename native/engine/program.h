// A rank's plan as the engine sees it: the C++ mirror of src/plan/plan.ts.
#pragma once
#include <algorithm>  // std::max
#include <array>      // spaces by index
#include <numeric>    // accumulate

#include "comm/communicator.h"  // GroupSpec
#include "engine/kernel.h"      // TensorType, Attrs
#include "engine/loss_scale.h"  // LossScalePlan

namespace merak {

enum class Space : uint8_t {
  parameters, gradients, optimizer,  // persistent
  constants, metrics, batch, received, sent, saved, receivedGradients, sentGradients, scratch, pending, recomputed,  // one executable's
};
constexpr int kNumSpaces = 14;
constexpr bool is_persistent(Space space) { return space <= Space::optimizer; }

struct SpacePlan {
  int64_t base = 0;
  std::vector<int64_t> slot_bytes;  // one slot after the other; none: the space does not exist
  int64_t num_slots() const { return static_cast<int64_t>(slot_bytes.size()); }
  int64_t bytes() const { return at(num_slots()); }
  // Where a slot lies from `base` on.
  int64_t at(int64_t slot) const { return std::accumulate(slot_bytes.begin(), slot_bytes.begin() + slot, int64_t{0}); }
  int64_t largest() const { return slot_bytes.empty() ? 0 : *std::max_element(slot_bytes.begin(), slot_bytes.end()); }
};
using Spaces = std::array<SpacePlan, kNumSpaces>;

struct ProgramValue {
  TensorType type;
  Space space = Space::scratch;
  int64_t offset = 0;
};

struct ProgramNode {
  std::string kernel;
  std::string scope;
  std::vector<int> inputs;
  std::vector<std::string> input_names;
  std::vector<int> outputs;
  Attrs attrs;
};

enum class ProgramKind : uint8_t { forward, recompute, backward, weights };
constexpr int kNumProgramKinds = 4;

struct Program {
  ProgramKind kind = ProgramKind::forward;
  int chunk = 0;  // of the rank's model chunks
  std::vector<ProgramValue> values;
  std::vector<ProgramNode> nodes;
  int index() const { return chunk * kNumProgramKinds + static_cast<int>(kind); }  // among an executable's
};

enum class Op : uint8_t { load, forward, recompute, backward, weights, send, receive, hand_over, zero, reduce, reduce_state, update };
enum class Message : uint8_t { activation, gradient };  // also the communicator's tag

struct Instruction {
  Op op = Op::zero;
  int64_t micro = 0;
  int chunk = 0;
  int64_t slot = -1;                    // load, send, receive, hand_over
  std::array<int64_t, kNumSpaces> slots{};  // programs: slot of each space, -1 where none
  Message message = Message::activation;
  int64_t bytes = 0;  // of a message
  int peer = -1;
  int64_t to = -1;    // hand_over: the slot it is handed to
  // Which of an executable's programs it runs; negative when none.
  int program() const {
    const int kind = static_cast<int>(op) - static_cast<int>(Op::forward);
    return kind >= 0 && kind < kNumProgramKinds ? chunk * kNumProgramKinds + kind : -1;
  }
};

struct InputPlan {
  std::string name;
  TensorType type;  // one micro-batch
  int64_t offset = 0;
  int chunk = 0;
};
using OutputPlan = InputPlan;

struct ConstantPlan {
  int64_t offset = 0;
  std::vector<uint8_t> data;
};

struct Executable {
  std::string name;
  int64_t num_micro_batches = 1;
  Spaces spaces{};
  int64_t arena_bytes = 0;
  std::vector<Program> programs;
  std::vector<Instruction> schedule;
  std::vector<InputPlan> inputs;
  std::vector<std::string> metrics;
  std::vector<OutputPlan> outputs;
  std::vector<ConstantPlan> constants;
  int num_chunks() const {
    int most = 0;
    for (const Program& program : programs) most = std::max(most, program.chunk);
    return most + 1;
  }
};

struct RankParameter {
  std::string name;
  TensorType type;
  bool trainable = false;
  int64_t offset = 0;
  int64_t gradient_offset = -1;
  std::vector<int64_t> moment_offsets;
  // With a sharded optimizer: the elements this rank updates, and of which it has moments. Else all.
  int64_t owned_begin = 0, owned_end = 0;
  bool counts_in_norm = false;
  bool decays = false;
};

struct Bucket {
  int group = 0;
  int64_t offset = 0;
  int64_t length = 0;
  float scale = 1;
  int64_t piece_length = 0;  // > 0: reduced and gathered in pieces, one per data replica
};

struct OptimizerPlan {
  enum class Kind : uint8_t { sgd, momentum, rmsprop, adam } kind = Kind::sgd;
  double momentum = 0;
  bool nesterov = false;
  double decay = 0;
  bool centered = false;
  double beta1 = 0, beta2 = 0, epsilon = 0, weight_decay = 0;
};

struct RankPlan {
  int rank = 0;
  int dp_index = 0;
  int dp = 1, tp = 1, pp = 1;
  std::vector<GroupSpec> groups;  // all of the plan; this rank is in some
  std::vector<RankParameter> parameters;
  Spaces spaces{};
  int64_t persistent_bytes = 0;
  std::vector<Bucket> gradient_buckets, state_buckets;
  OptimizerPlan optimizer;
  double clip_norm = 0;
  LossScalePlan loss_scale;
  bool needs_norm() const { return clip_norm > 0 || loss_scale.is_on(); }
  bool shards_optimizer() const { return !gradient_buckets.empty() && gradient_buckets[0].piece_length > 0; }
  int world_size() const { return dp * tp * pp; }
  // Id of this rank's group of an axis, or -1.
  int group_of(const std::string& axis) const {
    for (const GroupSpec& group : groups)
      if (group.axis == axis)
        for (const int member : group.ranks)
          if (member == rank) return group.id;
    return -1;
  }
};

}  // namespace merak
