// The processor as a backend: work is done when a call returns, what peers look at lies in memory that they map.
#include <unistd.h>  // sysconf

#include <cmath>    // sqrt, isnan
#include <cstdlib>  // getenv
#include <cstring>  // memcpy

#include "comm/shm.h"                // ShmCommunicator
#include "engine/aligned.h"          // scratch
#include "engine/engine.h"           // LoadedExecutable
#include "engine/error.h"            // EngineError
#include "engine/optimizer.h"        // update_parameters
#include "engine/registry.h"         // compile_kernel
#include "ops/cpu/isa/optimizers.h"  // has_nan

namespace merak {
namespace {

// Shared memory, with a helper thread for what is queued.
class ShmPeers : public Peers {
 public:
  ShmPeers(const RankPlan& plan, Recorder& recorder)
      : comm_(plan.rank, plan.world_size(), plan.groups), recording_(comm_, recorder), async_(recording_) {}

  Communicator& communicator() override { return async_; }
  std::vector<ArenaHandle> handles() const override { return {{"control", comm_.control()->fd(), comm_.control()->bytes()}}; }
  void add(const std::string& name, const Memory& memory) override { comm_.add_arena(name, memory.arena); }
  void connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) override { comm_.add_peer_arena(rank, arena, pid, fd, bytes); }
  void cancel() override { async_.cancel(); }
  std::vector<AsyncCommunicator::Event> take_trace() override { return async_.take_trace(); }
  double origin_seconds() const override { return async_.origin_seconds(); }
  size_t bytes() const override { return comm_.control()->resident_bytes(); }

 private:
  ShmCommunicator comm_;
  RecordingCommunicator recording_;
  AsyncCommunicator async_;
};

class CpuBackend : public Backend {
 public:
  Memory allocate(const std::string& name, int64_t bytes, int64_t exchanged_bytes) override {
    // The kernel would lend the addresses and end the process at the first touch too many.
    const double machine = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
    if (static_cast<double>(bytes) > machine)
      throw EngineError("plan/out-of-memory", "arena " + name + " needs " + std::to_string(bytes) + " bytes, and the machine has " +
                                                  std::to_string(static_cast<int64_t>(machine)));
    try {
      const std::shared_ptr<Arena> arena = Arena::create(name, static_cast<size_t>(bytes), static_cast<size_t>(exchanged_bytes));
      touch(*arena);
      return {arena->data(), arena->bytes(), arena, arena};
    } catch (const std::exception& error) {
      throw EngineError("plan/out-of-memory", error.what());
    }
  }

  Memory allocate_scratch(size_t bytes) override {
    std::shared_ptr<void> owner = aligned_bytes(bytes);
    return {static_cast<std::byte*>(owner.get()), bytes, owner, nullptr};
  }
  Memory allocate_staging(size_t) override { return {}; }

  size_t resident_bytes(const Memory& memory) const override { return memory.arena ? memory.arena->resident_bytes() : memory.bytes; }

  void write(std::byte* to, const void* from, size_t bytes) override { copy(to, static_cast<const std::byte*>(from), bytes); }
  void read(void* to, const std::byte* from, size_t bytes) override { copy(static_cast<std::byte*>(to), from, bytes); }

  std::unique_ptr<Kernel> compile(const NodeSpec& spec) override { return compile_kernel(spec); }
  std::unique_ptr<Peers> make_peers(const RankPlan& plan, Recorder& recorder) override { return std::make_unique<ShmPeers>(plan, recorder); }

  void opened(const RankPlan& plan, std::byte* persistent) override {
    plan_ = &plan;
    persistent_ = persistent;
  }

  void run(LoadedExecutable&, const StepInput&, const Update&, RunContext&, const std::function<void()>& work) override { work(); }
  StepEnd finish(const std::function<void()>&) override { return {}; }

  void load(std::byte* to, const void* from, size_t bytes) override { copy(to, static_cast<const std::byte*>(from), bytes); }
  void collect(void* to, const std::byte* from, size_t bytes) override { copy(static_cast<std::byte*>(to), from, bytes); }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    if (bytes) std::memcpy(to, from, bytes);
  }

  void clear(std::byte* data, size_t bytes) override {
    constexpr size_t kChunk = 1 << 18;
#pragma omp parallel for schedule(static) if (bytes > 4 * kChunk)
    for (size_t begin = 0; begin < bytes; begin += kChunk) std::memset(data + begin, 0, std::min(kChunk, bytes - begin));
  }

  void scale(float* data, size_t count, float factor) override {
    for (size_t i = 0; i < count; i++) data[i] *= factor;
  }

  // Costs one load on the last stage, and on the others one look at what was just written.
  NotFinite check_finite(LoadedExecutable& executable, int chunk, int64_t micro, const float* loss, const std::byte* sent) override {
    if (loss && !std::isfinite(*loss)) return {std::isnan(*loss) ? NotFinite::What::loss_nan : NotFinite::What::loss_infinite, micro};
    for (const auto& [offset, length] : executable.sent_floats[static_cast<size_t>(chunk)])
      if (MERAK_PICK(has_nan)(reinterpret_cast<const float*>(sent + offset), static_cast<size_t>(length))) return {NotFinite::What::activation_nan, micro};
    return {};
  }

  std::optional<double> update(const Update& update, RunContext& context) override {
    const RankPlan& plan = *plan_;
    double scale = update.gradient_scale;
    std::optional<double> norm;
    if (plan.clip_norm > 0) {
      double sum = local_square_sum(plan, persistent_) / replicas_in_norm(plan);
      const int world = plan.group_of("world");
      if (context.comm && world >= 0) {
        std::vector<double> all(static_cast<size_t>(plan.world_size()));
        context.comm->all_gather(world, &sum, all.data(), sizeof sum);
        sum = 0;
        for (const double part : all) sum += part;
      }
      norm = std::sqrt(sum) * update.gradient_scale;
      if (!std::isfinite(*norm)) return norm;
      scale *= plan.clip_norm / std::max(*norm, plan.clip_norm);
    }
    update_parameters(plan, persistent_, update.learning_rate, update.updates, scale);
    return norm;
  }

 private:
  // By the threads that will use it. What peers share is then written faster, too, by the coordinator.
  // MERAK_MEMORY_AHEAD=off leaves it to the first touch, so that what is measured is what a plan's programs use.
  static void touch(Arena& arena) {
    const char* ahead = std::getenv("MERAK_MEMORY_AHEAD");
    if (ahead && std::strcmp(ahead, "off") == 0) return;
    constexpr size_t kChunk = size_t{1} << 24;
#pragma omp parallel for schedule(static) if (arena.bytes() > kChunk)
    for (size_t begin = 0; begin < arena.bytes(); begin += kChunk) arena.touch(begin, begin + kChunk);
  }

  const RankPlan* plan_ = nullptr;
  std::byte* persistent_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace merak
