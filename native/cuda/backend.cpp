// The CUDA backend: a step is enqueued on one stream, from the third run on as a graph, and waited for once at its end.
#include "cuda/backend.h"

#include <bit>      // bit_cast
#include <cmath>    // pow, isinf
#include <cstdio>   // fprintf
#include <cstring>  // memcpy
#include <set>      // kernels told of
#include <thread>   // waiting

#include "comm/device_communicator.h"  // make_device_communicator
#include "cuda/feed.h"                 // CudaFeed
#include "cuda/host_kernel.h"          // make_host_kernel
#include "cuda/index_readers.h"        // IndexReaders
#include "cuda/memory.h"               // device_memory
#include "cuda/peers.h"                // CudaPeers
#include "cuda/rounded_weights.h"      // RoundedWeights
#include "cuda/step_graph.h"           // StepGraph
#include "engine/engine.h"             // LoadedExecutable, StepInput
#include "engine/error.h"              // EngineError
#include "engine/optimizer.h"          // replicas_in_norm
#include "ops/cuda/compile.h"          // compile_cuda_kernel
#include "ops/cuda/optimizer.h"        // Optimizer, FiniteCheck

namespace merak::cuda {
namespace {

// What the backend keeps of an executable.
struct ExecutableState {
  std::vector<std::unique_ptr<FiniteCheck>> checks;  // by chunk
  std::unique_ptr<StepGraph> graph;
  bool updates = false;
  bool only_updates = false;  // changes parameters by updates of whole ones, if at all
};

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(std::shared_ptr<Device> device)
      : device_(current(std::move(device))),
        step_(device_memory(device_, "the step's state", sizeof(MerakStep))),
        host_step_(pinned_memory(device_, sizeof(MerakStep))),
        rounded_(RoundedWeights::make(device_)) {}

  ~CudaBackend() override {
    device_->make_current();
    driver().cuStreamSynchronize(stream_);
  }

  Memory allocate(const std::string& name, int64_t bytes, int64_t) override { return device_memory(device_, "arena " + name, static_cast<size_t>(bytes)); }
  Memory allocate_scratch(size_t bytes) override {
    stream_.wait();
    return device_memory(device_, "the kernels' scratch", bytes);
  }
  Memory allocate_staging(size_t bytes) override { return pinned_memory(device_, bytes); }
  size_t resident_bytes(const Memory& memory) const override { return memory.bytes; }
  size_t own_bytes() const override {
    size_t bytes = step_.bytes + norms_.bytes + (optimizer_ ? optimizer_->bytes() : 0);
    if (rounded_)
      for (const auto& [offset, taken] : rounded_->bytes()) bytes += taken;
    return bytes;
  }

  void write(std::byte* to, const void* from, size_t bytes) override {
    idle();
    if (bytes) check(driver().cuMemcpyHtoD(address_of(to), from, bytes), "cuMemcpyHtoD");
  }
  void read(void* to, const std::byte* from, size_t bytes) override {
    idle();
    if (bytes) check(driver().cuMemcpyDtoH(to, address_of(from), bytes), "cuMemcpyDtoH");
  }

  std::unique_ptr<Kernel> compile(const NodeSpec& spec) override {
    device_->make_current();
    index_readers_.add(spec);
    NodeSpec with_copies = spec;
    with_copies.rounded = rounded_;
    return make_kernel_on(with_copies, *device_, [this, &spec](const std::string& reason) {
      if (told_.insert(spec.kernel).second)
        std::fprintf(stderr, "merak: %s; it runs on the processor, and steps with it are not captured as a CUDA graph\n", reason.c_str());
    });
  }

  std::unique_ptr<Peers> make_peers(const RankPlan& plan, Recorder& recorder) override {
    device_->make_current();
    auto peers = std::make_unique<CudaPeers>(make_device_communicator(*device_, plan.rank, plan.world_size(), plan.groups), recorder, stream_);
    peers_ = peers.get();
    return peers;
  }

  void opened(const RankPlan& plan, std::byte* persistent) override {
    plan_ = &plan;
    persistent_ = persistent;
  }

  void loaded(LoadedExecutable& executable) override {
    device_->make_current();
    auto state = std::make_shared<ExecutableState>();
    for (const auto& spans : executable.sent_floats) state->checks.push_back(executable.trains ? std::make_unique<FiniteCheck>(*device_, spans) : nullptr);
    for (const Instruction& instruction : executable.plan.schedule) state->updates = state->updates || instruction.op == Op::update;
    bool enqueues_only = true;
    for (const CompiledProgram& program : executable.programs)
      for (const CompiledNode& node : program.nodes)
        enqueues_only = enqueues_only && node.kernel->enqueues_only() && (!node.first || node.first->enqueues_only());
    state->graph = std::make_unique<StepGraph>(stream_, peers_, enqueues_only);
    state->only_updates = only_updates(executable);
    settle_copies(state->updates);
    if (state->updates && plan_->needs_norm() && !norms_.data)
      norms_ = device_memory(device_, "norms", sizeof(double) * (1 + static_cast<size_t>(plan_->world_size())));
    executable.backend_state = state;
  }

  std::unique_ptr<Feed> make_feed(const Executable& plan) override { return CudaFeed::make(device_, stream_, plan); }

  void run(LoadedExecutable& executable, const StepInput& input, const Update& update, RunContext& context, const std::function<void()>& work) override {
    device_->make_current();
    const auto state = std::static_pointer_cast<ExecutableState>(executable.backend_state);
    begin(input, update);
    bring_up_copies(*state, executable.changes_parameters, context.run);
    makes_norm_ = state->updates && plan_->needs_norm();
    context.stream = stream_;
    context.device_step = device_step();
    state->graph->run(input.record, [&] {
      work();
      check(driver().cuMemcpyDtoHAsync(host_step_.data, address_of(step_.data), sizeof(MerakStep), stream_), "cuMemcpyDtoHAsync");
    });
  }

  StepEnd finish(const std::function<void()>& poll) override {
    // A short wait is watched closely; a long one leaves the core to others.
    const auto is_done = [this] { return stream_.is_done() && (!peers_ || peers_->device().has_sent()); };
    for (int looks = 0; !is_done(); looks++) {
      poll();
      if (peers_) peers_->device().check();
      if (looks > 1000) std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    MerakStep end;
    std::memcpy(&end, host_step_.data, sizeof end);
    if (end.bad & MERAK_INDEX_OUTSIDE)
      throw EngineError("engine/kernel", "an id or label is " + std::to_string(end.index) + ", which is not in [0, " + std::to_string(end.limit) + ") (" + index_readers_.with_limit(end.limit) + ", step " +
                                             std::to_string(end.step) + ", micro-batch " + std::to_string(end.bad_micro) + ", rank " +
                                             std::to_string(plan_->rank) + ")");
    StepEnd result;
    if (makes_norm_) result.gradient_norm = end.norm;
    result.overflowed = end.bad == MERAK_OVERFLOW;
    using What = NotFinite::What;
    if (end.bad & MERAK_LOSS_NOT_FINITE) result.not_finite = {What::loss_nan, end.bad_micro};
    else if (end.bad & MERAK_ACTIVATION_NAN) result.not_finite = {What::activation_nan, end.bad_micro};
    else if (end.bad & MERAK_NORM_NOT_FINITE) result.not_finite = {What::norm, 0};
    return result;
  }

  void settle() override { stream_.wait(); }

  void load(std::byte* to, const void* from, size_t bytes) override {
    if (bytes) check(driver().cuMemcpyHtoDAsync(address_of(to), from, bytes, stream_), "cuMemcpyHtoDAsync");
  }
  void collect(void* to, const std::byte* from, size_t bytes) override {
    if (bytes) check(driver().cuMemcpyDtoHAsync(to, address_of(from), bytes, stream_), "cuMemcpyDtoHAsync");
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    if (bytes) check(driver().cuMemcpyDtoDAsync(address_of(to), address_of(from), bytes, stream_), "cuMemcpyDtoDAsync");
  }
  void clear(std::byte* data, size_t bytes) override {
    if (bytes) check(driver().cuMemsetD8Async(address_of(data), 0, bytes, stream_), "cuMemsetD8Async");
  }
  void scale(float* data, size_t count, float factor) override {
    if (count) cuda::scale(*device_, data, count, factor, stream_);
  }
  void set_micro(RunContext& context, int64_t micro) override {
    context.micro = micro;
    set(&device_step()->micro, static_cast<int>(micro));
  }

  NotFinite check_finite(LoadedExecutable& executable, int chunk, int64_t, const float* loss, const std::byte* sent) override {
    const auto& state = *static_cast<ExecutableState*>(executable.backend_state.get());
    state.checks[static_cast<size_t>(chunk)]->run(loss, sent, device_step(), stream_);
    return {};
  }

  std::optional<double> update(const Update& update, RunContext& context) override {
    const RankPlan& plan = *plan_;
    set(&device_step()->scale, static_cast<float>(update.gradient_scale));
    if (plan.needs_norm()) {
      auto* own = reinterpret_cast<double*>(norms_.data);
      optimizer_->square_sum(own, 1 / replicas_in_norm(plan), stream_);
      const int world = plan.group_of("world");
      const bool gathers = context.comm && world >= 0;
      if (gathers) context.comm->all_gather(world, own, own + 1, sizeof(double));
      optimizer_->clip(gathers ? own + 1 : own, gathers ? plan.world_size() : 1, plan.clip_norm,
                       plan.loss_scale.is_on() ? MERAK_OVERFLOW : MERAK_NORM_NOT_FINITE, device_step(), stream_);
    }
    optimizer_->update(device_step(), stream_);
    return {};
  }

 private:
  static std::shared_ptr<Device> current(std::shared_ptr<Device> device) {
    device->make_current();
    return device;
  }

  MerakStep* device_step() const { return reinterpret_cast<MerakStep*>(step_.data); }

  // Four bytes of the step's state, as part of what is enqueued.
  template <class Value>
  void set(Value* field, Value value) {
    static_assert(sizeof(Value) == 4);
    check(driver().cuMemsetD32Async(address_of(field), std::bit_cast<unsigned>(value), 1, stream_), "cuMemsetD32Async");
  }

  // Whether nothing but the update writes parameters. An update of the optimizer in pieces is followed by a gather of float32 weights.
  bool only_updates(const LoadedExecutable& executable) const {
    for (const Instruction& instruction : executable.plan.schedule)
      if (instruction.op == Op::reduce_state) return false;
    return written_parameters(executable.plan).empty() && !plan_->shards_optimizer();
  }

  // Between steps, where an executable has come: the weights that are kept in 16 bits, and who writes them.
  void settle_copies(bool updates) {
    stream_.wait();
    const bool have_changed = rounded_ && rounded_->settle(*plan_, persistent_);
    const bool is_new = updates && !optimizer_;
    if (is_new) optimizer_ = std::make_unique<Optimizer>(*device_, *plan_, persistent_, rounded_ ? rounded_->type() : std::nullopt);
    if (optimizer_ && rounded_ && (have_changed || is_new)) are_copies_written_ = optimizer_->keep(*rounded_);
  }

  // Weights in 16 bits, before a step and outside its graph: only the host knows whether they are stale.
  void bring_up_copies(const ExecutableState& state, bool changes_parameters, uint64_t run) {
    if (!rounded_) return;
    // A step that changes parameters counts as a state of its own (RunContext::run) and begins in the one before.
    rounded_->bring_up(changes_parameters ? run - 1 : run, stream_);
    if (changes_parameters && state.only_updates && are_copies_written_) rounded_->follow(run);
  }

  void idle() {
    device_->make_current();
    stream_.wait();
  }

  // What this step has of its own, uploaded before its work.
  void begin(const StepInput& input, const Update& update) {
    const OptimizerPlan& o = plan_->optimizer;
    const double t = static_cast<double>(update.updates);
    MerakStep step{};
    step.seed = input.seed;
    step.step = input.step;
    step.learning_rate = static_cast<float>(update.learning_rate);
    step.scale = 1;
    step.loss_scale = static_cast<float>(update.loss_scale);
    step.clip = 1;
    // As the processor's (engine/optimizer.cpp).
    step.correction1 = static_cast<float>(1 / (1 - std::pow(static_cast<float>(o.beta1), t)));
    step.correction2 = static_cast<float>(1 / (1 - std::pow(static_cast<float>(o.beta2), t)));
    step.decay_factor = static_cast<float>(1 - update.learning_rate * o.weight_decay);
    std::memcpy(host_step_.data, &step, sizeof step);
    check(driver().cuMemcpyHtoDAsync(address_of(step_.data), host_step_.data, sizeof step, stream_), "cuMemcpyHtoDAsync");
  }

  std::shared_ptr<Device> device_;
  IndexReaders index_readers_;
  Stream stream_;
  Memory step_, host_step_, norms_;
  std::shared_ptr<RoundedWeights> rounded_;  // null: products round at each use
  bool are_copies_written_ = false;          // by the optimizer
  std::unique_ptr<Optimizer> optimizer_;
  const RankPlan* plan_ = nullptr;
  std::byte* persistent_ = nullptr;
  bool makes_norm_ = false;
  CudaPeers* peers_ = nullptr;  // the engine's; null when alone
  std::set<std::string> told_;
};

}  // namespace

std::unique_ptr<Kernel> make_kernel_on(const NodeSpec& spec, Device& device, const std::function<void(const std::string&)>& lacks) {
  try {
    return compile_cuda_kernel(spec, device);
  } catch (const Unsupported& reason) {
    std::unique_ptr<Kernel> kernel = make_host_kernel(spec);
    lacks(reason.what());
    return kernel;
  }
}

std::unique_ptr<Backend> make_cuda_backend(std::shared_ptr<Device> device) {
  return std::make_unique<CudaBackend>(std::move(device));
}

}  // namespace merak::cuda
