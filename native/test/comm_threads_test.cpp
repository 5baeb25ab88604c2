// The shared-memory communicator between the threads of one process, where the thread sanitizer sees every access of every rank.
#include <thread>  // ranks

#include "comm/async.h"  // AsyncCommunicator
#include "comm/shm.h"    // ShmCommunicator
#include "test/check.h"

namespace merak::test {
namespace {

constexpr int kRanks = 3;
constexpr int kRounds = 40;
constexpr size_t kLarge = 3001;  // floats: past what travels inside the control block, and no multiple of anything

struct Rank {
  std::unique_ptr<ShmCommunicator> comm;
  std::shared_ptr<Arena> arena;
  float* data() const { return reinterpret_cast<float*>(arena->data()); }
};

std::vector<Rank> connected() {
  const std::vector<GroupSpec> groups = {{0, "world", {0, 1, 2}}, {1, "tp", {2, 0}}};
  std::vector<Rank> ranks(kRanks);
  for (int r = 0; r < kRanks; r++) {
    ranks[r].arena = Arena::create("data-" + std::to_string(r), 1 << 18);
    ranks[r].comm = std::make_unique<ShmCommunicator>(r, kRanks, groups);
    ranks[r].comm->add_arena("data", ranks[r].arena);
    ranks[r].comm->set_timeout(60);
  }
  for (Rank& rank : ranks)
    for (int peer = 0; peer < kRanks; peer++) {
      rank.comm->add_peer_arena(peer, "control", ranks[static_cast<size_t>(peer)].comm->control());
      rank.comm->add_peer_arena(peer, "data", ranks[static_cast<size_t>(peer)].arena);
    }
  return ranks;
}

// Runs `body(rank number)` on a thread each; throws what the first of them threw.
void on_all(const std::function<void(int)>& body) {
  std::vector<std::exception_ptr> thrown(kRanks);
  std::vector<std::thread> threads;
  for (int r = 0; r < kRanks; r++)
    threads.emplace_back([&, r] {
      try {
        body(r);
      } catch (...) {
        thrown[static_cast<size_t>(r)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : thrown)
    if (error) std::rethrow_exception(error);
}

TEST("comm: collectives of all sizes between threads") {
  std::vector<Rank> ranks = connected();
  on_all([&](int r) {
    ShmCommunicator& comm = *ranks[static_cast<size_t>(r)].comm;
    float* data = ranks[static_cast<size_t>(r)].data();
    for (int round = 0; round < kRounds; round++)
      for (const size_t count : {size_t{1}, size_t{17}, kLarge}) {
        for (size_t i = 0; i < count; i++) data[i] = static_cast<float>(r + 1) * static_cast<float>(i % 7 + 1);
        comm.all_reduce(0, data, count, ReduceOp::sum, 0.5f);
        for (size_t i = 0; i < count; i++) CHECK(data[i] == 3.0f * static_cast<float>(i % 7 + 1));
        for (size_t i = 0; i < count; i++) data[i] = static_cast<float>(r * 10 + round);
        comm.all_reduce(0, data, count, ReduceOp::max, 1);
        CHECK(data[count - 1] == static_cast<float>(20 + round));
        float* gathered = data + 4 * kLarge;
        data[0] = static_cast<float>(r);
        comm.all_gather(0, data, gathered, count * sizeof(float));
        for (int peer = 0; peer < kRanks; peer++) CHECK(gathered[static_cast<size_t>(peer) * count] == static_cast<float>(peer));
        for (size_t i = 0; i < count * kRanks; i++) data[i] = static_cast<float>(i);
        comm.reduce_scatter(0, data, gathered, 1, count, 1);
        CHECK(gathered[0] == 3.0f * static_cast<float>(static_cast<size_t>(r) * count));
        data[0] = static_cast<float>(r);
        comm.broadcast(0, data, count * sizeof(float), round % kRanks);
        CHECK(data[0] == static_cast<float>(round % kRanks));
        if (r != 1) {
          data[0] = static_cast<float>(r);
          comm.all_reduce(1, data, count, ReduceOp::sum, 1);
          CHECK(data[0] == 2);
        }
        comm.barrier(0);
      }
  });
}

TEST("comm: messages round a ring of threads, more than a channel holds") {
  std::vector<Rank> ranks = connected();
  on_all([&](int r) {
    ShmCommunicator& comm = *ranks[static_cast<size_t>(r)].comm;
    float* data = ranks[static_cast<size_t>(r)].data();
    const int next = (r + 1) % kRanks, before = (r + kRanks - 1) % kRanks;
    for (int round = 0; round < 100; round++) {
      const size_t count = static_cast<size_t>(round % 5) * 100 + 1;
      float* out = data + static_cast<size_t>(round % 8) * 1024;
      for (size_t i = 0; i < count; i++) out[i] = static_cast<float>(r * 1000 + round);
      const uint64_t ticket = comm.send(next, round % 2, out, count * sizeof(float));
      float* in = data + 16 * 1024;
      comm.receive(before, round % 2, in, count * sizeof(float));
      CHECK(in[0] == static_cast<float>(before * 1000 + round) && in[count - 1] == in[0]);
      if (round % 3 == 0) comm.wait_sent(next, round % 2, ticket);
      else comm.barrier(0);
    }
  });
}

TEST("comm: collectives in the background while their threads compute") {
  std::vector<Rank> ranks = connected();
  on_all([&](int r) {
    AsyncCommunicator comm(*ranks[static_cast<size_t>(r)].comm);
    float* data = ranks[static_cast<size_t>(r)].data();
    for (int round = 0; round < kRounds; round++) {
      float* first = data;
      float* second = data + 8192;
      std::fill_n(first, kLarge, 1.0f);
      std::fill_n(second, kLarge, static_cast<float>(r));
      comm.start(first, [=](Communicator& inner) { inner.all_reduce(0, first, kLarge, ReduceOp::sum, 1); });
      comm.start(second, [=](Communicator& inner) { inner.all_reduce(0, second, kLarge, ReduceOp::sum, 1); });
      float* mine = data + 32768;
      for (size_t i = 0; i < kLarge; i++) mine[i] = static_cast<float>(i);
      comm.finish(second);
      CHECK(second[kLarge - 1] == 3);
      comm.finish(first);
      CHECK(first[0] == 3);
      comm.all_reduce(0, mine, 5, ReduceOp::sum, 1);
      CHECK(mine[4] == 12);
    }
  });
}

TEST("comm: an abort from another thread ends the waits of all, and says why") {
  std::vector<Rank> ranks = connected();
  std::thread aborts([&] {
    for (Rank& rank : ranks) rank.comm->abort("the test says so");
  });
  on_all([&](int r) {
    if (r == 1) return;  // never comes
    ShmCommunicator& comm = *ranks[static_cast<size_t>(r)].comm;
    const auto error = thrown_by<CommError>([&] {
      for (;;) comm.barrier(0);
    });
    CHECK(error.code == "comm/aborted");
    CHECK(std::string(error.what()).find("the test says so") != std::string::npos);
  });
  aborts.join();
}

TEST("comm: what an arena does not share takes part in no collective") {
  constexpr size_t kShared = 1 << 14, kBytes = 5 << 20;
  const std::shared_ptr<Arena> arena = Arena::create("front", kBytes, kShared);
  CHECK(arena->bytes() == kBytes && arena->shared_bytes() == kShared && arena->resident_bytes() == 0);
  arena->data()[0] = arena->data()[kShared] = std::byte{1};
  CHECK(arena->resident_bytes() == 2 * 4096);
  arena->touch(kShared, kBytes);
  CHECK(arena->resident_bytes() == 4096 + kBytes - kShared && arena->data()[kShared] == std::byte{1});
  // A few pages are not worth a mapping of their own.
  CHECK(Arena::create("whole", kBytes, kBytes - (1 << 20))->shared_bytes() == kBytes);

  ShmCommunicator comm(0, 2, {{0, "world", {0, 1}}});
  comm.add_arena("front", arena);
  for (const size_t begin : {kShared, kShared - 64}) {
    const auto error = thrown_by<std::runtime_error>([&] { comm.all_reduce(0, reinterpret_cast<float*>(arena->data() + begin), kLarge, ReduceOp::sum, 1); });
    CHECK(std::string(error.what()).find("peers cannot map") != std::string::npos);
  }
}

TEST("comm: ranks at odds about a call are told so") {
  std::vector<Rank> ranks = connected();
  on_all([&](int r) {
    ShmCommunicator& comm = *ranks[static_cast<size_t>(r)].comm;
    float* data = ranks[static_cast<size_t>(r)].data();
    comm.set_timeout(5);
    const auto error = thrown_by<CommError>([&] {
      if (r == 0) comm.all_reduce(0, data, 4, ReduceOp::sum, 1);
      else comm.all_reduce(0, data, 5, ReduceOp::sum, 1);
      comm.barrier(0);  // who saw no difference itself finds the others gone
    });
    CHECK(error.code == "comm/mismatch" || error.code == "comm/timeout");
  });
}

}  // namespace
}  // namespace merak::test
