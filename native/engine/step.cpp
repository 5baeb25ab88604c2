// Interpreting an instruction list.
#include "engine/step.h"

#include <algorithm>  // all_of
#include <chrono>     // step time
#include <cmath>      // isfinite
#include <cstring>    // memcpy

#include "engine/error.h"  // EngineError

namespace merak {
namespace {

// The fields an executable reads, in its order.
std::vector<const uint8_t*> fields_of(const Executable& plan, const Fields& inputs, uint32_t step) {
  std::vector<const uint8_t*> fields;
  for (const InputPlan& field : plan.inputs) {
    const auto found = inputs.find(field.name);
    if (found == inputs.end()) throw EngineError("config/batch", "step " + std::to_string(step) + " has no field '" + field.name + "'");
    const size_t expected = field.type.bytes() * static_cast<size_t>(plan.num_micro_batches);
    if (found->second.second != expected)
      throw EngineError("config/batch", "field '" + field.name + "' has " + std::to_string(found->second.second) + " bytes where " +
                                            std::to_string(expected) + " are needed");
    fields.push_back(found->second.first);
  }
  return fields;
}

}  // namespace

Step::Step(Engine& engine, LoadedExecutable& loaded, const StepInput& input)
    : engine_(engine), loaded_(loaded), plan_(loaded.plan), input_(input) {
  context_.seed = input.seed;
  context_.step = input.step;
  context_.run = loaded.changes_parameters ? ++engine.parameters_state_ : engine.parameters_state_;
  context_.num_micro_batches = plan_.num_micro_batches;
  context_.dp_index = engine.plan_.dp_index;
  context_.comm = engine.peers_ ? &engine.peers_->communicator() : nullptr;
  context_.tp_group = engine.plan_.tp > 1 ? engine.plan_.group_of("tp") : -1;
  context_.dp_group = engine.plan_.dp > 1 ? engine.plan_.group_of("dp") : -1;
  context_.tp_size = engine.plan_.tp;
  context_.dp_size = engine.plan_.dp;
  context_.scratch = engine.scratch_.data;
  fields_ = fields_of(plan_, input.inputs, input.step);
  for (const OutputPlan& output : plan_.outputs)
    result_.outputs.emplace_back(output.type.bytes() * static_cast<size_t>(plan_.num_micro_batches));
  result_.metrics.resize(plan_.metrics.size());
  result_.gradient_norm = std::nan("");
  place();
}

void Step::place() {
  const bool direct = loaded_.staging.data == nullptr;
  auto* at = reinterpret_cast<uint8_t*>(loaded_.staging.data);
  const auto take = [&](size_t bytes) {
    uint8_t* place = at;
    at += staged(bytes);
    return place;
  };
  const auto micro_batches = static_cast<size_t>(plan_.num_micro_batches);
  metrics_ = direct ? result_.metrics.data() : reinterpret_cast<float*>(take(plan_.metrics.size() * sizeof(float)));
  for (size_t i = 0; i < plan_.outputs.size(); i++)
    outputs_.push_back(direct ? result_.outputs[i].data() : take(result_.outputs[i].size()));
  if (loaded_.feed) fields_ = loaded_.feed->bring(input_.ticket, fields_);
  for (size_t i = 0; !direct && !loaded_.feed && i < plan_.inputs.size(); i++) {
    const size_t bytes = plan_.inputs[i].type.bytes() * micro_batches;
    uint8_t* place = take(bytes);
    if (bytes) std::memcpy(place, fields_[i], bytes);
    fields_[i] = place;
  }
}

void Step::take_results() {
  if (loaded_.staging.data) {
    std::copy_n(metrics_, plan_.metrics.size(), result_.metrics.begin());
    for (size_t i = 0; i < outputs_.size(); i++) std::copy_n(outputs_[i], result_.outputs[i].size(), result_.outputs[i].begin());
  }
  // A forward-only schedule without `reduce` leaves this rank's sums.
  const float scale = metrics_reduced_ ? 1.0f : 1.0f / static_cast<float>(plan_.num_micro_batches);
  for (float& metric : result_.metrics) metric *= scale;
}

StepResult Step::run() {
  const auto start = std::chrono::steady_clock::now();
  if (context_.comm) {
    context_.comm->set_timeout(input_.timeout_seconds);
    context_.comm->take_wait_seconds();
  }
  // However the step ends, nothing may still be exchanging its buffers.
  struct Settle {
    Peers* peers;
    ~Settle() {
      if (peers) peers->cancel();
    }
  } settle{engine_.peers_.get()};
  // A step that fails leaves nothing to take.
  struct Stop {
    Recorder& recorder;
    ~Stop() { recorder.take(); }
  } stop{engine_.recorder_};
  const double begin = steady_seconds();
  if (input_.record) {
    if (engine_.peers_) engine_.peers_->take_trace();
    engine_.recorder_.start();
  }
  for (const Instruction& instruction : plan_.schedule) {
    updates_ = updates_ || instruction.op == Op::update;
    metrics_reduced_ = metrics_reduced_ || instruction.op == Op::reduce;
  }
  Backend& backend = *engine_.backend_;
  backend.run(loaded_, input_, update_of_step(), context_, [&] {
    next_chunk_ = 0;
    for (const Instruction& instruction : plan_.schedule) {
      check_abort();
      execute_noted(instruction);
    }
    if (!plan_.metrics.empty()) backend.collect(metrics_, reinterpret_cast<const std::byte*>(metrics()), plan_.metrics.size() * sizeof(float));
  });
  bring_next();
  check_end(backend.finish([this] {
    check_abort();
    bring_next();
  }));
  if (updates_ && !result_.overflowed) engine_.updates_++;
  take_results();
  result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context_.comm) result_.wait_seconds = context_.comm->take_wait_seconds();
  if (input_.record) {
    engine_.recorder_.add({.kind = Span::Kind::step, .index = static_cast<int64_t>(input_.step), .begin = begin, .end = steady_seconds()});
    result_.spans = take_spans();
  }
  return std::move(result_);
}

void Step::bring_next() {
  const std::optional<Announcement> next = engine_.announced_.take();
  if (!next) return;
  const auto found = engine_.executables_.find(next->executable);
  if (found == engine_.executables_.end() || !found->second.feed) return;
  std::vector<const uint8_t*> fields;
  try {
    fields = fields_of(found->second.plan, next->fields, 0);
  } catch (const EngineError&) {
    return;  // its own step will say what is wrong with it
  }
  found->second.feed->bring_ahead(next->ticket, fields);
}

std::vector<Span> Step::take_spans() {
  if (engine_.peers_) {
    const double origin = engine_.peers_->origin_seconds();
    for (const AsyncCommunicator::Event& event : engine_.peers_->take_trace())
      engine_.recorder_.add({.kind = Span::Kind::awaited,
                             .begin = origin + event.awaited,
                             .end = origin + event.released,
                             .buffer = reinterpret_cast<uint64_t>(event.key)});
  }
  return engine_.recorder_.take();
}

void Step::execute_noted(const Instruction& instruction) {
  if (!engine_.recorder_.on()) return execute(instruction);
  const double begin = steady_seconds();
  execute(instruction);
  engine_.backend_->settle();
  const auto index = static_cast<int64_t>(&instruction - plan_.schedule.data());
  engine_.recorder_.add({.kind = Span::Kind::instruction, .index = index, .begin = begin, .end = steady_seconds()});
}

void Step::execute(const Instruction& instruction) {
  switch (instruction.op) {
    case Op::load: return load(instruction);
    case Op::forward:
      wait_for_slot(Message::activation, instruction.slots[static_cast<int>(Space::sent)]);
      run_program(instruction);
      if (loaded_.trains) check_finite(instruction);
      return collect_outputs(instruction);
    case Op::recompute:
    case Op::weights: return run_program(instruction);
    case Op::backward:
      wait_for_slot(Message::gradient, instruction.slots[static_cast<int>(Space::sentGradients)]);
      return run_program(instruction);
    case Op::send: return send(instruction);
    case Op::receive: return receive(instruction);
    case Op::hand_over: return hand_over(instruction);
    case Op::zero: return zero();
    case Op::reduce: return reduce();
    case Op::reduce_state: return reduce_buckets(engine_.plan_.state_buckets, Space::parameters, 1.0f);
    case Op::update: return update();
  }
}

std::byte* Step::space(Space which, int64_t slot) const {
  const SpacePlan& plan = plan_.spaces[static_cast<int>(which)];
  std::byte* arena = is_persistent(which) ? engine_.persistent_.data : loaded_.arena.data;
  return arena + plan.base + plan.at(std::max<int64_t>(slot, 0));
}

Bases Step::bases_of(const Instruction& instruction) const {
  Bases bases;
  for (int i = 0; i < kNumSpaces; i++) bases[i] = space(static_cast<Space>(i), instruction.slots[i]);
  return bases;
}

void Step::load(const Instruction& instruction) {
  std::byte* slot = space(Space::batch, instruction.slot);
  for (size_t i = 0; i < plan_.inputs.size(); i++) {
    if (plan_.inputs[i].chunk != instruction.chunk) continue;
    const size_t bytes = plan_.inputs[i].type.bytes();
    std::byte* to = slot + plan_.inputs[i].offset;
    const uint8_t* from = fields_[i] + static_cast<size_t>(instruction.micro) * bytes;
    if (loaded_.feed) engine_.backend_->copy(to, reinterpret_cast<const std::byte*>(from), bytes);
    else engine_.backend_->load(to, from, bytes);
  }
}

void Step::run_node(CompiledNode& node, const Bases& bases, bool starts, int program) {
  const void** inputs = engine_.input_pointers_.data();
  void** outputs = engine_.output_pointers_.data();
  for (size_t i = 0; i < node.inputs.size(); i++) inputs[i] = bases[static_cast<int>(node.inputs[i].space)] + node.inputs[i].offset;
  for (size_t i = 0; i < node.outputs.size(); i++)
    outputs[i] = bases[static_cast<int>(node.outputs[i].space)] + node.outputs[i].offset;
  const double begin = steady_seconds();
  (starts && node.first ? node.first : node.kernel)->run(inputs, outputs, context_);
  if (engine_.recorder_.on()) engine_.backend_->settle();
  const double end = steady_seconds();
  node.seconds += end - begin;
  node.num_runs++;
  if (engine_.recorder_.on() && program >= 0)
    engine_.recorder_.add({.kind = Span::Kind::node, .index = node.node, .detail = program, .begin = begin, .end = end});
}

void Step::run_program(const Instruction& instruction) {
  const int index = instruction.program();
  CompiledProgram& program = loaded_.programs[static_cast<size_t>(index)];
  const Bases bases = bases_of(instruction);
  engine_.backend_->set_micro(context_, instruction.micro);
  const OverlapPlan& overlap = loaded_.overlap;
  overlaps_ = overlap.program >= 0 && &instruction == &plan_.schedule[overlap.instruction];
  for (size_t i = 0; i < program.nodes.size(); i++) {
    CompiledNode& node = program.nodes[i];
    check_abort();
    try {
      run_node(node, bases, program.starts, index);
      if (overlaps_) start_chunks(i);
    } catch (const CommError&) {
      throw;
    } catch (const EngineError&) {
      throw;
    } catch (const std::exception& error) {
      const ProgramNode& origin = program.program->nodes[static_cast<size_t>(node.node)];
      throw EngineError("engine/kernel", origin.kernel + (origin.scope.empty() ? "" : " in " + origin.scope) + " (step " +
                                             std::to_string(input_.step) + ", micro-batch " + std::to_string(instruction.micro) +
                                             ", rank " + std::to_string(engine_.plan_.rank) + "): " + error.what());
    }
  }
  program.starts = false;
}

void Step::start_chunks(size_t node) {
  const std::vector<GradientChunk>& chunks = loaded_.overlap.chunks;
  for (; next_chunk_ < chunks.size() && chunks[next_chunk_].ready_after <= node; next_chunk_++) {
    const GradientChunk& chunk = chunks[next_chunk_];
    const Bucket& bucket = engine_.plan_.gradient_buckets[chunk.bucket];
    auto* data = reinterpret_cast<float*>(space(Space::gradients) + chunk.offset);
    const float scale = bucket.scale / static_cast<float>(plan_.num_micro_batches);
    const int group = bucket.group;
    const auto count = static_cast<size_t>(chunk.length);
    context_.comm->start(data, [=](Communicator& comm) { comm.all_reduce(group, data, count, ReduceOp::sum, scale); });
  }
}

void Step::wait_for_slot(Message message, int64_t slot) {
  std::vector<LoadedExecutable::Sent>& sent = loaded_.sent[static_cast<int>(message)];
  if (slot < 0 || slot >= static_cast<int64_t>(sent.size())) return;
  LoadedExecutable::Sent& last = sent[static_cast<size_t>(slot)];
  if (last.peer < 0) return;
  context_.comm->wait_sent(last.peer, static_cast<int>(message), last.ticket);
  last.peer = -1;
}

void Step::send(const Instruction& instruction) {
  const Space from = instruction.message == Message::activation ? Space::sent : Space::sentGradients;
  const std::byte* data = space(from, instruction.slot);
  const auto bytes = static_cast<size_t>(instruction.bytes);
  if (!context_.comm) throw EngineError("plan/invalid", "a rank alone cannot send");
  if (bytes) {
    const uint64_t ticket = context_.comm->send(instruction.peer, static_cast<int>(instruction.message), data, bytes);
    loaded_.sent[static_cast<int>(instruction.message)][static_cast<size_t>(instruction.slot)] = {ticket, instruction.peer};
  }
}

void Step::receive(const Instruction& instruction) {
  const Space to = instruction.message == Message::activation ? Space::received : Space::receivedGradients;
  const auto bytes = static_cast<size_t>(instruction.bytes);
  if (!context_.comm) throw EngineError("plan/invalid", "a rank alone cannot receive");
  if (bytes) context_.comm->receive(instruction.peer, static_cast<int>(instruction.message), space(to, instruction.slot), bytes);
}

void Step::hand_over(const Instruction& instruction) {
  const bool gradient = instruction.message == Message::gradient;
  const Space from = gradient ? Space::sentGradients : Space::sent, to = gradient ? Space::receivedGradients : Space::received;
  engine_.backend_->copy(space(to, instruction.to), space(from, instruction.slot), static_cast<size_t>(instruction.bytes));
}

void Step::zero() {
  const auto clear = [&](std::byte* data, int64_t bytes) { engine_.backend_->clear(data, static_cast<size_t>(bytes)); };
  for (const GradientRange& range : loaded_.zeroed) clear(space(Space::gradients) + range.begin, range.end - range.begin);
  for (CompiledProgram& program : loaded_.programs) program.starts = true;
  clear(space(Space::metrics), plan_.spaces[static_cast<int>(Space::metrics)].bytes());
}

void Step::reduce_buckets(const std::vector<Bucket>& buckets, Space which, float factor) {
  const auto is_queued = [&](const Bucket& bucket) {
    if (which != Space::gradients) return false;
    for (size_t i = 0; i < next_chunk_; i++)
      if (&engine_.plan_.gradient_buckets[loaded_.overlap.chunks[i].bucket] == &bucket) return true;
    return false;
  };
  for (size_t i = 0; which == Space::gradients && i < next_chunk_; i++)
    context_.comm->finish(space(Space::gradients) + loaded_.overlap.chunks[i].offset);
  for (const Bucket& bucket : buckets) {
    if (is_queued(bucket)) continue;
    float* data = reinterpret_cast<float*>(space(which) + bucket.offset);
    const size_t count = static_cast<size_t>(bucket.length);
    const float scale = bucket.scale * factor;
    const bool scattered = bucket.piece_length > 0 && bucket.group == context_.dp_group && context_.comm;
    if (scattered)
      context_.comm->reduce_scatter(bucket.group, data, piece_of(bucket, which), 1, static_cast<size_t>(bucket.piece_length), scale);
    else if (context_.comm && bucket.group >= 0) context_.comm->all_reduce(bucket.group, data, count, ReduceOp::sum, scale);
    else if (scale != 1.0f) engine_.backend_->scale(data, count, scale);
  }
}

void Step::reduce() {
  const std::vector<Bucket>& buckets = engine_.plan_.gradient_buckets;
  const float mean = 1.0f / static_cast<float>(plan_.num_micro_batches);
  // Gradients that no other rank adds to are scaled by the update itself.
  const bool alone = !buckets.empty() && std::all_of(buckets.begin(), buckets.end(), [&](const Bucket& bucket) {
    return (!context_.comm || bucket.group < 0) && bucket.scale == buckets.front().scale;
  });
  if (loaded_.trains && alone) gradient_scale_ = static_cast<double>(buckets.front().scale * mean);
  else if (loaded_.trains) reduce_buckets(buckets, Space::gradients, mean);
  if (!plan_.metrics.empty()) {
    const size_t count = plan_.metrics.size();
    const float scale = 1.0f / static_cast<float>(plan_.num_micro_batches * engine_.plan_.dp);
    if (context_.comm && context_.dp_group >= 0) context_.comm->all_reduce(context_.dp_group, metrics(), count, ReduceOp::sum, scale);
    else engine_.backend_->scale(metrics(), count, scale);
  }
}

Update Step::update_of_step() const { return {input_.learning_rate, engine_.updates_ + 1, gradient_scale_, engine_.loss_scale_.scale}; }

void Step::update() {
  const std::optional<double> norm = engine_.backend_->update(update_of_step(), context_);
  if (norm) result_.gradient_norm = *norm;
  if (norm && !std::isfinite(*norm)) fail({NotFinite::What::norm, 0}, plan_.schedule.back());
  gather_parameters();
}

float* Step::piece_of(const Bucket& bucket, Space which) const {
  return reinterpret_cast<float*>(space(which) + bucket.offset) + engine_.plan_.dp_index * bucket.piece_length;
}

void Step::gather_parameters() {
  if (!context_.comm || context_.dp_group < 0) return;
  for (const Bucket& bucket : engine_.plan_.gradient_buckets)
    if (bucket.piece_length > 0)
      context_.comm->all_gather(context_.dp_group, piece_of(bucket, Space::parameters), space(Space::parameters) + bucket.offset,
                                static_cast<size_t>(bucket.piece_length) * sizeof(float));
}

void Step::collect_outputs(const Instruction& instruction) {
  const std::byte* slot = space(Space::sent, instruction.slots[static_cast<int>(Space::sent)]);
  for (size_t i = 0; i < plan_.outputs.size(); i++) {
    if (plan_.outputs[i].chunk != instruction.chunk) continue;
    const size_t bytes = plan_.outputs[i].type.bytes();
    engine_.backend_->collect(outputs_[i] + static_cast<size_t>(instruction.micro) * bytes, slot + plan_.outputs[i].offset, bytes);
  }
}

void Step::check_abort() {
  if (!engine_.aborted_.load(std::memory_order_relaxed)) return;
  std::lock_guard lock(engine_.abort_mutex_);
  throw CommError("comm/aborted", -1, "rank " + std::to_string(engine_.plan_.rank) + " was aborted: " + engine_.abort_reason_);
}

StepResult Engine::run(const std::string& name, const StepInput& input) {
  announced_.drop_through(input.ticket);
  LoadedExecutable& loaded = const_cast<LoadedExecutable&>(executable(name));
  return Step(*this, loaded, input).run();
}

}  // namespace merak
