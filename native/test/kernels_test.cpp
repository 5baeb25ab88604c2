// Every kernel under the sanitizers: valid nodes run inside their buffers, malformed ones are refused or run inside them too.
#include <cstdio>   // fprintf
#include <cstdlib>  // getenv
#include <set>      // kernel names

#include "engine/aligned.h"   // scratch
#include "engine/registry.h"  // compile_kernel
#include "test/check.h"
#include "test/mutate.h"
#include "test/nodes.h"

namespace merak::test {
namespace {

// Kernels that need peers: comm_test.cpp runs what they call.
bool is_collective(const NodeSpec& spec) {
  static const std::set<std::string> names = {"MerakAllReduce", "MerakAllGather", "MerakReduceScatter", "MerakAllReduceStart",
                                              "MerakAllGatherStart", "MerakReduceScatterStart", "MerakWait"};
  return names.contains(spec.kernel);
}

void run(const NodeSpec& spec, Kernel& kernel, uint32_t seed) {
  Buffers buffers = buffers_of(spec, seed);
  RunContext context;
  context.run = 1;
  const AlignedBytes scratch = aligned_bytes(kernel.scratch_bytes());
  context.scratch = scratch.get();
  kernel.run(buffers.inputs.data(), buffers.outputs.data(), context);
}

TEST("every kernel has a recorded node") {
  std::set<std::string> recorded;
  for (const NodeSpec& spec : recorded_nodes()) recorded.insert(spec.kernel);
  for (const std::string& name : kernel_names())
    if (!recorded.contains(name)) throw Failure("nodes.txt has no line for " + name);
}

TEST("recorded nodes compile and run inside their buffers") {
  for (const NodeSpec& spec : recorded_nodes()) {
    const std::unique_ptr<Kernel> kernel = compile_kernel(spec);
    if (!is_collective(spec)) run(spec, *kernel, 0);
  }
}

TEST("malformed nodes are refused or run inside their buffers") {
  const char* wanted = std::getenv("MERAK_CASES");
  const uint32_t cases_per_node = wanted ? static_cast<uint32_t>(std::atoi(wanted)) : 40;
  constexpr double kMostBytes = 1 << 16;
  // One kernel alone, each case printed before it runs: to find the case that a sanitizer ends.
  const char* only = std::getenv("MERAK_KERNEL");
  size_t num_refused = 0, num_run = 0;
  for (const NodeSpec& original : recorded_nodes()) {
    if (only && original.kernel != only) continue;
    for (uint32_t seed = 1; seed <= cases_per_node; seed++) {
      const NodeSpec spec = mutated(original, seed);
      if (only) std::fprintf(stderr, "%s -> %zu outputs, seed %u\n", describe(spec).c_str(), spec.outputs.size(), seed);
      try {
        const std::unique_ptr<Kernel> kernel = compile_kernel(spec);
        if (is_collective(spec) || total_bytes(spec) > kMostBytes || kernel->scratch_bytes() > (1 << 24)) continue;
        run(spec, *kernel, seed);
        num_run++;
      } catch (const Failure&) {
        throw;
      } catch (const std::exception&) {
        num_refused++;
      }
    }
  }
  CHECK(num_refused > 0 && (only || num_run > 0));
}

}  // namespace
}  // namespace merak::test
