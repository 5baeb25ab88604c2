// The engine's communicators of device memory, without the engine: `communicator KIND SCENARIO NUM_RANKS` forks that many ranks, each with
// a device of its own ('nccl') or all on one ('staged'), and prints a line for each: "RANK ok", "RANK wrong: ..." or "RANK CODE: message".
#include <sys/wait.h>  // children
#include <unistd.h>    // fork, pipe

#include <cmath>     // fabs
#include <csignal>   // raise
#include <cstdio>    // printf
#include <cstring>   // memcpy
#include <string>    // messages
#include <vector>    // data

#include "comm/gpu/nccl_communicator.h"
#include "comm/gpu/nccl_ctas.h"
#include "comm/gpu/staged_device.h"
#include "cuda/captured.h"
#include "engine/error.h"

using namespace merak;
using namespace merak::cuda;

// All that the communicators ask of a device; the engine's own also compiles kernels.
struct merak::cuda::Device::Modules {};
merak::cuda::Device::Device(int ordinal) : ordinal_(ordinal) {
  check(driver().cuDeviceGet(&device_, ordinal), "cuDeviceGet");
  check(driver().cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}
merak::cuda::Device::~Device() = default;
void merak::cuda::Device::make_current() const { check(driver().cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

namespace {

struct Handle {
  int rank, pid, fd;
  size_t bytes;
  char arena[320];
};

struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Small integers: sums are exact in any order.
float value(int owner, size_t i) { return static_cast<float>((i * 31 + static_cast<size_t>(owner) * 17) % 101) - 50.0f; }

class Rank {
 public:
  Rank(DeviceCommunicator& comm, int rank, int num_ranks) : comm_(comm), rank_(rank), num_ranks_(num_ranks) {
    check(driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    comm_.set_stream(stream_);
  }

  float* buffer(size_t count) {
    CUdeviceptr address;
    check(driver().cuMemAlloc(&address, count * sizeof(float)), "cuMemAlloc");
    return reinterpret_cast<float*>(address);
  }
  template <class Of>
  void fill(float* to, size_t count, Of of) {
    std::vector<float> data(count);
    for (size_t i = 0; i < count; i++) data[i] = of(i);
    check(driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(to), data.data(), count * sizeof(float), stream_), "cuMemcpyHtoDAsync");
  }
  // Waits as the engine does: `check` is called until the stream is done.
  void settle() {
    while (driver().cuStreamQuery(stream_) == CUDA_ERROR_NOT_READY) {
      comm_.check();
      usleep(100);
    }
  }
  template <class Of>
  void expect(const char* what, const float* from, size_t count, Of of) {
    settle();
    std::vector<float> data(count);
    check(driver().cuMemcpyDtoHAsync(data.data(), reinterpret_cast<CUdeviceptr>(from), count * sizeof(float), stream_), "cuMemcpyDtoHAsync");
    check(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize");
    for (size_t i = 0; i < count; i++)
      if (!(std::fabs(data[i] - of(i)) == 0))
        throw Wrong(std::string(what) + " element " + std::to_string(i) + ": " + std::to_string(data[i]) + ", not " + std::to_string(of(i)));
  }

  void collectives(int group, size_t count) {
    const auto n = static_cast<size_t>(num_ranks_);
    float *x = buffer(count), *all = buffer(count * n), *part = buffer(count);
    const auto sum = [&](size_t i) {
      float s = 0;
      for (int r = 0; r < num_ranks_; r++) s += value(r, i);
      return s;
    };
    const auto own = [&](size_t i) { return value(rank_, i); };
    fill(x, count, own);
    comm_.all_reduce(group, x, count, ReduceOp::sum, 0.5f);
    expect("all-reduce", x, count, [&](size_t i) { return 0.5f * sum(i); });
    fill(x, count, own);
    comm_.all_reduce(group, x, count, ReduceOp::max, 1);
    expect("maximum", x, count, [&](size_t i) {
      float m = value(0, i);
      for (int r = 1; r < num_ranks_; r++) m = std::max(m, value(r, i));
      return m;
    });
    fill(x, count, own);
    comm_.all_gather(group, x, all, count * sizeof(float));
    expect("all-gather", all, count * n, [&](size_t i) { return value(static_cast<int>(i / count), i % count); });
    const size_t outer = 3, chunk = count / outer;
    fill(x, count, own);
    comm_.all_gather_into(group, x, all, outer, chunk * sizeof(float));
    expect("all-gather of rows", all, outer * n * chunk, [&](size_t i) {
      const size_t row = i / (n * chunk), owner = i / chunk % n;
      return value(static_cast<int>(owner), row * chunk + i % chunk);
    });
    for (size_t rows : {size_t{1}, outer}) {
      const size_t length = count / rows;
      fill(all, rows * n * length, own);
      comm_.reduce_scatter(group, all, part, rows, length, 2);
      expect("reduce-scatter", part, rows * length, [&](size_t i) {
        return 2 * sum((i / length * n + static_cast<size_t>(rank_)) * length + i % length);
      });
    }
    fill(x, count, own);
    comm_.broadcast(group, x, count * sizeof(float), num_ranks_ - 1);
    expect("broadcast", x, count, [&](size_t i) { return value(num_ranks_ - 1, i); });
    // Begun, and awaited after other work.
    fill(x, count, own);
    comm_.start(x, [&](Communicator& comm) { comm.all_reduce(group, x, count, ReduceOp::sum, 1); });
    fill(part, count, own);
    comm_.finish(x);
    expect("started all-reduce", x, count, sum);
    comm_.barrier(group);
  }

  // Both neighbours at once, on two channels each way, everybody sending first.
  void messages(size_t count) {
    const int next = (rank_ + 1) % num_ranks_, last = (rank_ + num_ranks_ - 1) % num_ranks_;
    float *out = buffer(count), *back = buffer(count);
    for (int round = 0; round < 3; round++) {
      fill(out, count, [&](size_t i) { return value(rank_ + round, i); });
      const uint64_t forward = comm_.send(next, 0, out, count * sizeof(float));
      const uint64_t backward = comm_.send(last, 1, out, count * sizeof(float));
      comm_.receive(last, 0, back, count * sizeof(float));
      expect("message", back, count, [&](size_t i) { return value(last + round, i); });
      comm_.receive(next, 1, back, count * sizeof(float));
      expect("message back", back, count, [&](size_t i) { return value(next + round, i); });
      comm_.wait_sent(next, 0, forward);
      comm_.wait_sent(last, 1, backward);
      settle();
    }
  }

  // A step of collectives and messages to the next rank and from the last, some of it begun and awaited later.
  void step(size_t count) {
    const size_t bytes = count * sizeof(float);
    const int next = (rank_ + 1) % num_ranks_, last = (rank_ + num_ranks_ - 1) % num_ranks_;
    const auto copy = [&](float* to) {
      check(driver().cuMemcpyDtoDAsync(reinterpret_cast<CUdeviceptr>(to), reinterpret_cast<CUdeviceptr>(source_), bytes, stream_), "cuMemcpyDtoDAsync");
    };
    copy(most_);
    comm_.start(most_, [&](Communicator& comm) { comm.all_reduce(0, most_, count, ReduceOp::max, 1); });
    const uint64_t forward = comm_.send(next, 0, source_, bytes), backward = comm_.send(last, 1, source_, bytes);
    copy(sum_);
    comm_.receive(last, 0, from_last_, bytes);
    comm_.receive(next, 1, from_next_, bytes);
    comm_.all_reduce(0, sum_, count, ReduceOp::sum, 0.5f);
    comm_.wait_sent(next, 0, forward);
    comm_.wait_sent(last, 1, backward);
    comm_.all_gather_into(0, source_, all_, 3, bytes / 3);
    comm_.finish(most_);
  }

  void expect_step(size_t count, int round) {
    const auto of = [&](int rank, size_t i) { return value(rank % num_ranks_ + 7 * round, i); };
    expect("captured sum", sum_, count, [&](size_t i) {
      float s = 0;
      for (int r = 0; r < num_ranks_; r++) s += of(r, i);
      return 0.5f * s;
    });
    expect("captured maximum", most_, count, [&](size_t i) {
      float m = of(0, i);
      for (int r = 1; r < num_ranks_; r++) m = std::max(m, of(r, i));
      return m;
    });
    expect("captured message", from_last_, count, [&](size_t i) { return of(rank_ + num_ranks_ - 1, i); });
    expect("captured message back", from_next_, count, [&](size_t i) { return of(rank_ + 1, i); });
    const auto n = static_cast<size_t>(num_ranks_);
    expect("captured all-gather of rows", all_, count * n, [&](size_t i) {
      const size_t chunk = count / 3, row = i / (n * chunk), owner = i / chunk % n;
      return of(static_cast<int>(owner), row * chunk + i % chunk);
    });
  }

  // Two steps call by call, then graphs, and a step in between as a recorded one is.
  void graphs(const std::string& scenario) {
    const size_t count = 20001;
    for (float** data : {&source_, &most_, &sum_, &from_last_, &from_next_}) *data = buffer(count);
    all_ = buffer(count * static_cast<size_t>(num_ranks_));
    std::unique_ptr<CapturedGraph> graph;
    CapturedExchanges exchanges;
    comm_.set_release([&] { graph.reset(); });
    for (int round = 0; round < 6; round++) {
      comm_.set_timeout(60);
      fill(source_, count, [&](size_t i) { return value(rank_ + 7 * round, i); });
      if (round == 2) {
        if (comm_.agree(rank_ != num_ranks_ - 1)) throw Wrong("agreed, though the last rank had said no");
        if (!comm_.agree(true)) throw Wrong("not agreed");
        if (scenario == "graph unjoined") return unjoined(count);
        graph = std::make_unique<CapturedGraph>(stream_, [&] { exchanges = comm_.capture([&] { step(count); }); });
        if (exchanges.collectives[0] != 3) throw Wrong("the graph holds " + std::to_string(exchanges.collectives[0]) + " collectives");
      }
      if (round == 3 && rank_ == 1 && scenario == "graph killed") raise(SIGKILL);
      if (round == 3 && rank_ == 1 && scenario == "graph stalled") sleep(4);
      comm_.set_timeout(scenario == "graph stalled" ? 1.5 : 60);
      if (graph && round != 4) {
        comm_.launches(exchanges);
        graph->launch(stream_);
      } else {
        step(count);
      }
      while (!comm_.has_sent()) comm_.check();
      expect_step(count, round);
    }
    graph.reset();
  }

  // The stand-in takes 14 MiB for each channel that a communicator may use.
  void memory() {
    const auto taken = [] {
      size_t free = 0, total = 0;
      check(driver().cuMemGetInfo(&free, &total), "cuMemGetInfo");
      return (total - free) >> 20;
    };
    float* x = buffer(100);
    const auto all_reduce = [&](int group) {
      comm_.all_reduce(group, x, 100, ReduceOp::sum, 1);
      settle();
    };
    const size_t before = taken();
    all_reduce(0);
    const size_t group = taken();
    all_reduce(1);
    const size_t world = taken();
    if (rank_ == 0) comm_.send(1, 0, x, 400);
    else comm_.receive(0, 0, x, 400);
    while (!comm_.has_sent()) comm_.check();
    settle();
    if (group - before != 14 * kGroupCtas || world - group != 14 * kWorldCtas || taken() - world != 14 * kMessageCtas)
      throw Wrong("a group took " + std::to_string(group - before) + " MiB, the world " + std::to_string(world - group) + ", messages " +
                  std::to_string(taken() - world));
  }

  // Only the communicator knows all its streams: without its capture() the graph lacks an end.
  void unjoined(size_t count) {
    try {
      CapturedGraph graph(stream_, [&] { comm_.start(most_, [&](Communicator& comm) { comm.all_reduce(0, most_, count, ReduceOp::max, 1); }); });
    } catch (const EngineError& error) {
      comm_.barrier(0);  // nobody is missed while it captures
      throw Wrong(error.what());
    }
    throw Wrong("captured");
  }

  void run(const std::string& scenario) {
    comm_.set_timeout(scenario == "stalled" ? 1.5 : 60);
    if (scenario.rfind("graph", 0) == 0) return graphs(scenario);
    if (scenario == "memory") return memory();
    if (scenario == "all") {
      collectives(0, 300);
      collectives(0, 50001);
      if (num_ranks_ > 1) messages(20001);
      return;
    }
    float* x = buffer(5000);
    for (int call = 1; call <= 3; call++) {
      if (call == 3 && rank_ == 1 && scenario == "killed") raise(SIGKILL);
      if (call == 3 && rank_ == 1 && scenario == "stalled") sleep(6);
      comm_.set_timeout(scenario == "stalled" ? 1.5 : 60);
      comm_.all_reduce(0, x, 5000, ReduceOp::sum, 1);
      settle();
    }
  }

 private:
  DeviceCommunicator& comm_;
  int rank_, num_ranks_;
  CUstream stream_ = nullptr;
  float *source_ = nullptr, *most_ = nullptr, *sum_ = nullptr, *from_last_ = nullptr, *from_next_ = nullptr, *all_ = nullptr;  // of a step
};

std::string serve(const std::string& kind, const std::string& scenario, int rank, int num_ranks, int to_parent, int from_parent) {
  try {
    Device device(kind == "nccl" ? rank : 0);
    device.make_current();
    GroupSpec replicas{0, "dp", {}};
    for (int r = 0; r < num_ranks; r++) replicas.ranks.push_back(r);
    const std::vector<GroupSpec> groups = {replicas, {1, "world", replicas.ranks}};
    std::unique_ptr<DeviceCommunicator> comm;
    if (kind == "nccl") comm = std::make_unique<NcclCommunicator>(device, rank, num_ranks, groups);
    else comm = std::make_unique<StagedDeviceCommunicator>(device, rank, num_ranks, groups);
    const std::vector<ArenaHandle> own = comm->handles();
    const auto count = static_cast<int>(own.size());
    if (write(to_parent, &count, sizeof count) < 0) return "pipe";
    for (const ArenaHandle& handle : own) {
      Handle sent{rank, getpid(), handle.fd, handle.bytes, {}};
      std::snprintf(sent.arena, sizeof sent.arena, "%s", handle.arena.c_str());
      if (write(to_parent, &sent, sizeof sent) < 0) return "pipe";
    }
    int total = 0;
    if (read(from_parent, &total, sizeof total) != sizeof total) return "pipe";
    for (int i = 0; i < total; i++) {
      Handle handle;
      for (size_t got = 0; got < sizeof handle;) {
        const ssize_t n = read(from_parent, reinterpret_cast<char*>(&handle) + got, sizeof handle - got);
        if (n <= 0) return "pipe";
        got += static_cast<size_t>(n);
      }
      if (handle.rank != rank) comm->connect(handle.rank, handle.arena, handle.pid, handle.fd, handle.bytes);
    }
    Rank(*comm, rank, num_ranks).run(scenario);
    comm->barrier(0);
    return "ok";
  } catch (const Wrong& error) {
    return std::string("wrong: ") + error.what();
  } catch (const CommError& error) {
    return error.code + ": (" + std::to_string(error.absent_rank) + ") " + error.what();
  } catch (const EngineError& error) {
    return error.code + ": " + error.what();
  } catch (const std::exception& error) {
    return std::string("error: ") + error.what();
  }
}

}  // namespace

int main(int, char** argv) {
  const std::string kind = argv[1], scenario = argv[2];
  const int num_ranks = std::atoi(argv[3]);
  std::vector<int> up(static_cast<size_t>(num_ranks)), down(static_cast<size_t>(num_ranks));
  for (int rank = 0; rank < num_ranks; rank++) {
    int to_parent[2], to_child[2];
    if (pipe(to_parent) != 0 || pipe(to_child) != 0) return 1;
    if (fork() == 0) {
      const std::string result = serve(kind, scenario, rank, num_ranks, to_parent[1], to_child[0]);
      std::printf("%d %s\n", rank, result.c_str());
      std::fflush(stdout);
      _exit(0);
    }
    up[static_cast<size_t>(rank)] = to_parent[0];
    down[static_cast<size_t>(rank)] = to_child[1];
  }
  std::vector<Handle> handles;
  for (int fd : up) {
    int count = 0;
    if (read(fd, &count, sizeof count) != sizeof count) return 1;
    for (int i = 0; i < count; i++) {
      Handle handle;
      for (size_t got = 0; got < sizeof handle;) {
        const ssize_t n = read(fd, reinterpret_cast<char*>(&handle) + got, sizeof handle - got);
        if (n <= 0) return 1;
        got += static_cast<size_t>(n);
      }
      handles.push_back(handle);
    }
  }
  const auto total = static_cast<int>(handles.size());
  for (int fd : down) {
    if (write(fd, &total, sizeof total) < 0) return 1;
    for (const Handle& handle : handles)
      if (write(fd, &handle, sizeof handle) < 0) return 1;
  }
  while (wait(nullptr) > 0) {
  }
}
