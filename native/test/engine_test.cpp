// The engine on small plans: it trains as computed by hand, alone and on two ranks, and refuses plans that are malformed.
#include <unistd.h>  // getpid

#include <algorithm>  // max
#include <cstdio>   // fprintf
#include <cstdlib>  // getenv
#include <thread>   // two ranks

#include "engine/error.h"  // EngineError
#include "engine/exchanged.h"  // exchanged_bytes
#include "test/check.h"
#include "test/plans.h"

namespace merak::test {
namespace {

// Two micro-batches of kWidth numbers: first, first + 1, ...
std::vector<float> batch(float first) {
  std::vector<float> x(2 * kWidth);
  for (size_t i = 0; i < x.size(); i++) x[i] = first + static_cast<float>(i);
  return x;
}

StepResult step(Engine& engine, const std::vector<float>& x, double learning_rate) {
  StepInput input;
  input.learning_rate = learning_rate;
  input.timeout_seconds = 10;
  input.inputs["x"] = {reinterpret_cast<const uint8_t*>(x.data()), x.size() * sizeof(float)};
  return engine.run("train", input);
}

std::vector<float> weights(const Engine& engine) {
  std::vector<float> values(kWidth);
  engine.read(0, -1, values.data(), values.size() * sizeof(float));
  return values;
}

TEST("engine: a linear model trains by momentum as computed by hand") {
  Engine engine(small_plan(0, 1));
  engine.load(small_executable());
  const std::vector<float> ones(kWidth, 1.0f);
  engine.write(0, -1, ones.data(), ones.size() * sizeof(float));
  const std::vector<float> x = batch(1);
  // Mean over the micro-batches of sum(x) + 1; the gradient of w_i is the mean of x_i and x_(5+i).
  CHECK(step(engine, x, 0.1).metrics.at(0) == 28.5f);
  for (int64_t i = 0; i < kWidth; i++) CHECK(std::fabs(weights(engine)[i] - (1 - 0.1f * (static_cast<float>(i) + 3.5f))) < 1e-6f);
  const float before = weights(engine)[0];
  step(engine, x, 0.1);
  // Momentum 0.5: the second step is 1.5 times the first.
  CHECK(std::fabs(weights(engine)[0] - (before - 0.15f * 3.5f)) < 1e-6f);
}

TEST("engine: two ranks average their gradients") {
  std::vector<std::unique_ptr<Engine>> engines;
  std::vector<ArenaHandle> handles[2];
  for (int r = 0; r < 2; r++) {
    engines.push_back(std::make_unique<Engine>(small_plan(r, 2)));
    handles[r] = engines.back()->open_handles();
    for (const ArenaHandle& handle : engines.back()->load(small_executable())) handles[r].push_back(handle);
  }
  for (int r = 0; r < 2; r++)
    for (const ArenaHandle& handle : handles[1 - r]) engines[static_cast<size_t>(r)]->connect(1 - r, handle.arena, getpid(), handle.fd, handle.bytes);
  std::vector<float> losses(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; r++)
    threads.emplace_back([&, r] { losses[static_cast<size_t>(r)] = step(*engines[static_cast<size_t>(r)], batch(r ? 3 : 1), 1).metrics.at(0); });
  for (std::thread& thread : threads) thread.join();
  CHECK(losses[0] == 1 && losses[1] == 1);
  for (int r = 0; r < 2; r++) CHECK(weights(*engines[static_cast<size_t>(r)])[0] == -4.5f);
}

TEST("engine: peers map what a plan exchanges") {
  const RankPlan alone = small_plan(0, 1), both = small_plan(0, 2);
  const auto end_of = [](const Spaces& spaces, Space space) { return spaces[static_cast<int>(space)].base + spaces[static_cast<int>(space)].bytes(); };
  CHECK(exchanged_bytes(both) == std::max(end_of(both.spaces, Space::parameters), end_of(both.spaces, Space::gradients)));
  Executable executable = small_executable();
  CHECK(exchanged_bytes(executable, alone) == 0);
  const int64_t messages = std::max({end_of(executable.spaces, Space::metrics), end_of(executable.spaces, Space::sent), end_of(executable.spaces, Space::sentGradients)});
  CHECK(exchanged_bytes(executable, both) == messages);
  Program& program = executable.programs.front();
  for (ProgramValue& value : program.values)
    if (value.space == Space::scratch) {
      const int id = static_cast<int>(&value - program.values.data());
      program.nodes.push_back({"MerakAllReduce", "", {id}, {"x"}, {id}, {}});
      CHECK(exchanged_bytes(executable, both) == std::max(messages, end_of(executable.spaces, Space::scratch)));
      return;
    }
  throw Failure("the small plan has nothing in scratch");
}

TEST("engine: malformed plans are refused or run inside their arenas") {
  const char* wanted = std::getenv("MERAK_CASES");
  const uint32_t num_cases = wanted ? 20 * static_cast<uint32_t>(std::atoi(wanted)) : 3000;
  const bool prints = std::getenv("MERAK_PRINT_CASES") != nullptr;
  size_t num_refused = 0, num_run = 0;
  for (uint32_t seed = 1; seed <= num_cases; seed++) {
    RankPlan plan = small_plan(0, 1);
    Executable executable = small_executable();
    mutate(plan, executable, seed);
    if (prints) std::fprintf(stderr, "seed %u\n", seed);
    // Real memory, not the plan's to refuse: what a machine would give or not.
    if (std::max(plan.persistent_bytes, executable.arena_bytes) > (1 << 24) && std::max(plan.persistent_bytes, executable.arena_bytes) < (int64_t{1} << 50)) continue;
    try {
      Engine engine(plan);
      engine.load(executable);
      std::vector<float> x = batch(1);
      if (!executable.inputs.empty()) x.resize(executable.inputs[0].type.bytes() * static_cast<size_t>(executable.num_micro_batches) / sizeof(float));
      StepInput input;
      input.timeout_seconds = 0.01;
      input.inputs["x"] = {reinterpret_cast<const uint8_t*>(x.data()), x.size() * sizeof(float)};
      engine.run("train", input);
      num_run++;
    } catch (const Failure&) {
      throw;
    } catch (const std::exception&) {
      num_refused++;
    }
  }
  CHECK(num_refused > num_cases / 4 && num_run > num_cases / 20);
}

TEST("engine: a refusal says what is wrong and where") {
  const auto refused = [](const std::function<void(RankPlan&, Executable&)>& spoil) {
    RankPlan plan = small_plan(0, 1);
    Executable executable = small_executable();
    spoil(plan, executable);
    const auto error = thrown_by<EngineError>([&] { Engine(plan).load(executable); });
    CHECK(error.code == "plan/invalid");
    return std::string(error.what());
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(says(refused([](RankPlan&, Executable& e) { e.programs[0].values[2].offset = 120; }), "outside its space"));
  CHECK(says(refused([](RankPlan&, Executable& e) { e.spaces[static_cast<int>(Space::metrics)].base = 0; }), "spaces overlap"));
  CHECK(says(refused([](RankPlan&, Executable& e) { e.schedule[1].slot = 2; }), "slot that does not exist"));
  CHECK(says(refused([](RankPlan&, Executable& e) { e.spaces[static_cast<int>(Space::saved)].slot_bytes[1] = 0; }), "reaches past its slot"));
  CHECK(says(refused([](RankPlan&, Executable& e) { std::swap(e.programs[0].nodes[0], e.programs[0].nodes[1]); }), "before it is made"));
  CHECK(says(refused([](RankPlan& p, Executable&) { p.parameters[0].moment_offsets.clear(); }), "too few optimizer moments"));
  CHECK(says(refused([](RankPlan& p, Executable&) { p.gradient_buckets[0].length = 17; }), "bucket lies outside"));
}

}  // namespace
}  // namespace merak::test
