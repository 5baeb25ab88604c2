// Collectives between the ranks of one host through shared memory, in place: each rank's arenas are memfds that its peers
// map. A wait spins briefly, then sleeps on a futex; every wait has a time limit and can be aborted.
// One thread makes the calls; a second one may send (send, wait_sent, taken) meanwhile. abort, set_timeout and
// take_wait_seconds may come from anywhere.
#pragma once
#include <chrono>         // deadlines
#include <mutex>          // abort reason
#include <unordered_map>  // group table

#include "comm/arena.h"         // Arena
#include "comm/communicator.h"  // Communicator

namespace merak {

struct ControlBlock;
struct Offer;
struct Channel;

// "group tp [0,1]", for messages.
std::string describe_group(const GroupSpec& spec);

class ShmCommunicator : public Communicator {
 public:
  // `groups` are the groups this rank belongs to. Throws std::runtime_error on ids or ranks past the fixed limits.
  ShmCommunicator(int rank, int world_size, const std::vector<GroupSpec>& groups);
  ~ShmCommunicator() override;

  // The arena peers must map as this rank's 'control'.
  const std::shared_ptr<Arena>& control() const { return control_; }
  // Makes an own arena known under `name`, so that pointers into it can take part in collectives.
  void add_arena(const std::string& name, std::shared_ptr<Arena> arena);
  void remove_arena(const std::string& name);
  // Maps a peer's arena: 'control' or one it added under the same name. Re-adding a name replaces the mapping.
  void add_peer_arena(int rank, const std::string& name, int pid, int fd, size_t bytes);
  // The same for a peer in this process: both use one mapping.
  void add_peer_arena(int rank, const std::string& name, std::shared_ptr<Arena> arena);

  int rank() const override { return rank_; }
  void all_reduce(int group, float* data, size_t count, ReduceOp op, float scale) override;
  void all_gather(int group, const void* input, void* output, size_t bytes) override;
  void all_gather_into(int group, const void* input, void* output, size_t outer, size_t chunk_bytes) override;
  void reduce_scatter(int group, const float* input, float* output, size_t outer, size_t chunk, float scale) override;
  void broadcast(int group, void* data, size_t bytes, int root_index) override;
  void barrier(int group) override;
  uint64_t send(int peer, int tag, const void* data, size_t bytes) override;
  void wait_sent(int peer, int tag, uint64_t ticket) override;
  void receive(int peer, int tag, void* data, size_t bytes) override;
  // Waits for the message that the next receive(peer, tag, ...) takes; its size.
  size_t next_message_bytes(int peer, int tag);
  // The ticket of the last message to `peer` that it has taken; 0 when none. Does not wait.
  uint32_t taken(int peer, int tag);
  // Whether the process of a connected peer is gone.
  bool has_ended(int peer) const;
  void set_timeout(double seconds) override { timeout_seconds_ = seconds; }
  void abort(const std::string& reason) override;
  double take_wait_seconds() override;

 private:
  struct Group {
    GroupSpec spec;
    size_t index = 0;  // of this rank in spec.ranks
    uint32_t sequence = 0;
  };
  struct Address {
    uint32_t arena = 0;
    uint64_t offset = 0;
  };
  struct PeerArena {
    uint32_t name_hash;
    std::shared_ptr<Arena> arena;
  };
  struct Peer {
    int pid = 0;
    int process = -1;  // pidfd: readable once the process has ended, reaped or not
    std::shared_ptr<Arena> control;
    std::vector<PeerArena> arenas;
  };

  // What a wait is for; text is made of it only when it fails.
  struct Purpose {
    const char* operation;
    const Group* group;  // null for messages
    int tag = 0;
  };

  Group& group(int id);
  ControlBlock* control_of(int rank);
  Channel& channel(int from, int to, int tag);
  Address address_of(const void* data, uint64_t bytes);
  std::byte* resolve(int rank, Address address, uint64_t bytes);
  // Waits until `word` reaches `target` (sequence arithmetic, so wrap-around is fine).
  void wait(std::atomic<uint32_t>& word, std::atomic<uint32_t>& waiters, uint32_t target, int peer, const Purpose& purpose);
  void arrive(Group& group, uint32_t kind, Address address, uint64_t bytes);
  const Offer& await_arrival(Group& group, size_t index, uint32_t kind, uint64_t bytes, const char* operation);
  void finish(Group& group, const char* operation);
  std::string waiting_for(const Purpose& purpose, uint32_t target, int peer) const;
  bool exchange_small(Group& group, uint32_t kind, const void* data, size_t bytes, const char* operation);

  int rank_;
  int world_size_;
  std::shared_ptr<Arena> control_;
  std::unordered_map<int, Group> groups_;
  std::vector<std::pair<uint32_t, std::shared_ptr<Arena>>> arenas_;
  std::vector<Peer> peers_;
  std::atomic<double> timeout_seconds_{100};
  std::atomic<double> wait_seconds_{0};
  int spin_;
  std::atomic<bool> aborted_{false};
  std::mutex abort_mutex_;
  std::string abort_reason_;
};

}  // namespace merak
