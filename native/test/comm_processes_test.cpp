// The shared-memory communicator between forked processes: collectives in each other's arenas, and a rank that dies inside one.
#include <signal.h>    // kill
#include <sys/wait.h>  // waitpid
#include <unistd.h>    // fork, pipe

#include <cstring>  // strncpy

#include "comm/shm.h"  // ShmCommunicator
#include "test/check.h"

namespace merak::test {
namespace {

constexpr int kRanks = 3;
constexpr size_t kCount = 5003;

struct Handles {
  int rank, control_fd, data_fd;
  size_t control_bytes, data_bytes;
  int pid;
};

void write_all(int fd, const void* data, size_t bytes) {
  if (write(fd, data, bytes) != static_cast<ssize_t>(bytes)) throw Failure("a pipe broke");
}
void read_all(int fd, void* data, size_t bytes) {
  auto* at = static_cast<char*>(data);
  for (size_t done = 0; done < bytes;) {
    const ssize_t n = read(fd, at + done, bytes - done);
    if (n <= 0) throw Failure("a pipe broke");
    done += static_cast<size_t>(n);
  }
}

// What a rank ended with: 0 well, else what it threw.
struct Report {
  int rank;
  bool failed;
  char message[400];
};

// Forks kRanks processes, connects them and runs `body(comm, data, rank)` in each. Collects reports of all but those that died.
std::vector<Report> on_processes(const std::function<void(ShmCommunicator&, float*, int)>& body, int num_reports) {
  int to_parent[2], reports[2], to_child[kRanks][2];
  if (pipe(to_parent) || pipe(reports)) throw Failure("no pipe");
  for (auto& ends : to_child)
    if (pipe(ends)) throw Failure("no pipe");
  std::vector<pid_t> children;
  for (int r = 0; r < kRanks; r++) {
    const pid_t child = fork();
    if (child < 0) throw Failure("cannot fork");
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    Report report{r, false, {}};
    try {
      ShmCommunicator comm(r, kRanks, {{0, "world", {0, 1, 2}}});
      const auto arena = Arena::create("data", kCount * sizeof(float) * 4);
      comm.add_arena("data", arena);
      comm.set_timeout(20);
      const Handles own{r, comm.control()->fd(), arena->fd(), comm.control()->bytes(), arena->bytes(), getpid()};
      Handles all[kRanks];
      write_all(to_parent[1], &own, sizeof own);
      read_all(to_child[r][0], all, sizeof all);
      for (int peer = 0; peer < kRanks; peer++) {
        if (peer == r) continue;
        comm.add_peer_arena(peer, "control", all[peer].pid, all[peer].control_fd, all[peer].control_bytes);
        comm.add_peer_arena(peer, "data", all[peer].pid, all[peer].data_fd, all[peer].data_bytes);
      }
      comm.barrier(0);
      body(comm, reinterpret_cast<float*>(arena->data()), r);
      comm.barrier(0);  // nobody leaves while others read its memory
    } catch (const std::exception& error) {
      report.failed = true;
      std::strncpy(report.message, error.what(), sizeof report.message - 1);
    }
    write_all(reports[1], &report, sizeof report);
    _exit(0);
  }
  Handles all[kRanks];
  for (int i = 0; i < kRanks; i++) {
    // One write each, shorter than what a pipe keeps together.
    Handles got;
    read_all(to_parent[0], &got, sizeof got);
    all[got.rank] = got;
  }
  for (auto& ends : to_child) write_all(ends[1], all, sizeof all);
  std::vector<Report> list(static_cast<size_t>(num_reports));
  for (Report& report : list) read_all(reports[0], &report, sizeof report);
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  for (int* ends : {to_parent, reports}) close(ends[0]), close(ends[1]);
  for (auto& ends : to_child) close(ends[0]), close(ends[1]);
  return list;
}

TEST("comm: collectives between processes") {
  const auto reports = on_processes(
      [](ShmCommunicator& comm, float* data, int rank) {
        for (const size_t count : {size_t{3}, kCount}) {
          std::fill_n(data, count, static_cast<float>(rank + 1));
          comm.all_reduce(0, data, count, ReduceOp::sum, 1);
          CHECK(data[0] == 6 && data[count - 1] == 6);
        }
        float* gathered = data + kCount;
        data[0] = static_cast<float>(rank);
        comm.all_gather(0, data, gathered, kCount * sizeof(float));
        for (int peer = 0; peer < kRanks; peer++) CHECK(gathered[static_cast<size_t>(peer) * kCount] == static_cast<float>(peer));
      },
      kRanks);
  for (const Report& report : reports)
    if (report.failed) throw Failure("rank " + std::to_string(report.rank) + ": " + report.message);
}

TEST("comm: a rank killed inside an all-reduce is named by the others, with the operation and its number") {
  const auto reports = on_processes(
      [](ShmCommunicator& comm, float* data, int rank) {
        comm.all_reduce(0, data, kCount, ReduceOp::sum, 1);
        if (rank == 1) kill(getpid(), SIGKILL);
        comm.all_reduce(0, data, kCount, ReduceOp::sum, 1);
      },
      kRanks - 1);
  for (const Report& report : reports) {
    const std::string text = report.message;
    CHECK(report.failed && report.rank != 1);
    for (const char* part : {"rank 1", "all-reduce", "sequence number 3", "has ended"})
      if (text.find(part) == std::string::npos) throw Failure("no '" + std::string(part) + "' in: " + text);
  }
}

}  // namespace
}  // namespace merak::test
