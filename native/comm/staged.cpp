#include "comm/staged.h"

#include <algorithm>  // min, max
#include <cstring>    // memcpy

#include "comm/control.h"  // kInlineBytes

namespace merak {

namespace {

constexpr size_t kCollectiveBytes = 16 << 20;  // larger collectives go in rounds
constexpr size_t kLargestPiece = 16 << 20;     // larger messages go in pieces
constexpr size_t kLargestRing = 256 << 20;
constexpr size_t kAllRings = size_t{32} << 30;  // address space only: pages never touched cost nothing
constexpr size_t kAlign = 64;
constexpr int kNumChannels = 2;

// Goes before the first piece of a message.
struct Header {
  uint64_t bytes;
  uint32_t tag;
  uint32_t unused;
};

size_t round_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

int channel_of(uint32_t tag) { return static_cast<int>(tag % kNumChannels); }

}  // namespace

StagedCommunicator::StagedCommunicator(int rank, int world_size, std::vector<GroupSpec> groups, size_t ring_bytes)
    : groups_(std::move(groups)), shm_(rank, world_size, groups_) {
  const size_t num_rings = static_cast<size_t>(std::max(1, world_size)) * kNumChannels;
  ring_bytes_ = ring_bytes ? std::max<size_t>(4096, round_up(ring_bytes)) : std::min(kLargestRing, kAllRings / num_rings / kAlign * kAlign);
  // Two pieces fit, header and alignment included, so that the receiver copies one while the other is filled.
  piece_bytes_ = std::min(kLargestPiece, ring_bytes_ / 2 - 2 * kAlign);
  staging_ = Arena::create("staging-" + std::to_string(rank), kCollectiveBytes + num_rings * ring_bytes_);
  shm_.add_arena("staging", staging_);
}

const GroupSpec& StagedCommunicator::spec(int group) const {
  for (const GroupSpec& spec : groups_)
    if (spec.id == group) return spec;
  throw std::runtime_error("rank " + std::to_string(shm_.rank()) + " knows no group " + std::to_string(group));
}

void StagedCommunicator::all_reduce(int group, float* data, size_t count, ReduceOp op) {
  constexpr size_t per_round = kCollectiveBytes / sizeof(float);
  auto* staged = reinterpret_cast<float*>(staging_->data());
  size_t begin = 0;
  // An empty one still meets the others, who may have brought something.
  do {
    const size_t n = std::min(per_round, count - begin), bytes = n * sizeof(float);
    if (bytes <= kInlineBytes) {
      shm_.all_reduce(group, data + begin, n, op, 1);
    } else {
      std::memcpy(staged, data + begin, bytes);
      shm_.all_reduce(group, staged, n, op, 1);
      std::memcpy(data + begin, staged, bytes);
    }
    begin += n;
  } while (begin < count);
}

std::vector<StagedCommunicator::Buffer> StagedCommunicator::all_gather(int group, const std::byte* data, size_t bytes) {
  const size_t num_ranks = spec(group).ranks.size();
  std::vector<Buffer> parts(num_ranks, Buffer(bytes));
  Buffer gathered(std::min(kCollectiveBytes, bytes) * num_ranks);
  size_t begin = 0;
  do {
    const size_t n = std::min(kCollectiveBytes, bytes - begin);
    const std::byte* input = data + begin;
    if (n > kInlineBytes) {
      std::memcpy(staging_->data(), input, n);
      input = staging_->data();
    }
    shm_.all_gather(group, input, gathered.data(), n);
    for (size_t i = 0; i < num_ranks && n; i++) std::memcpy(parts[i].data() + begin, gathered.data() + i * n, n);
    begin += n;
  } while (begin < bytes);
  return parts;
}

void StagedCommunicator::broadcast(int group, std::byte* data, size_t bytes, int root_index) {
  const bool root = spec(group).ranks.at(static_cast<size_t>(root_index)) == shm_.rank();
  size_t begin = 0;
  do {
    const size_t n = std::min(kCollectiveBytes, bytes - begin);
    if (root && n) std::memcpy(staging_->data(), data + begin, n);
    shm_.broadcast(group, root ? staging_->data() : data + begin, n, root_index);
    begin += n;
  } while (begin < bytes);
}

double StagedCommunicator::time_all_reduce(int group, size_t count, int times, int repeat) {
  if (count * sizeof(float) > staging_->bytes()) throw std::runtime_error("so many numbers do not fit the staging memory");
  auto* data = reinterpret_cast<float*>(staging_->data());
  std::fill_n(data, count, 1.0f);
  double best = 1e30;
  for (int round = 0; round <= repeat; ++round) {
    shm_.barrier(group);
    const auto start = std::chrono::steady_clock::now();
    // Halved, so that the numbers stay what they were between two ranks.
    for (int i = 0; i < times; ++i) shm_.all_reduce(group, data, count, ReduceOp::sum, 0.5f);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
    if (round > 0) best = std::min(best, seconds);  // the first round touches the pages
  }
  return best;
}

size_t StagedCommunicator::allocate(Ring& ring, int peer, int channel, size_t bytes) {
  auto& flight = ring.in_flight;
  for (;;) {
    const uint32_t taken = shm_.taken(peer, channel);
    while (!flight.empty() && static_cast<int32_t>(taken - static_cast<uint32_t>(flight.front().ticket)) >= 0) flight.pop_front();
    // Starting over whenever nothing is under way keeps the pages touched to the most that ever was.
    if (flight.empty()) return ring.head = 0;
    const size_t tail = flight.front().begin;
    const bool wrapped = ring.head <= tail;
    if (!wrapped && ring.head + bytes <= ring_bytes_) return ring.head;
    if (!wrapped && bytes < tail) return ring.head = 0;
    if (wrapped && ring.head + bytes < tail) return ring.head;
    shm_.wait_sent(peer, channel, flight.front().ticket);
  }
}

void StagedCommunicator::post(int peer, int channel, const std::byte* head, size_t head_bytes, const std::byte* data, size_t bytes) {
  auto [found, fresh] = rings_.try_emplace({peer, channel});
  Ring& ring = found->second;
  if (fresh) ring.base = staging_->data() + kCollectiveBytes + static_cast<size_t>(peer * kNumChannels + channel) * ring_bytes_;
  const size_t room = std::max(kAlign, round_up(head_bytes + bytes));
  const size_t begin = allocate(ring, peer, channel, room);
  if (head_bytes) std::memcpy(ring.base + begin, head, head_bytes);
  if (bytes) std::memcpy(ring.base + begin + head_bytes, data, bytes);
  const uint64_t ticket = shm_.send(peer, channel, ring.base + begin, head_bytes + bytes);
  ring.head = begin + room;
  ring.in_flight.push_back({ticket, begin, ring.head});
}

void StagedCommunicator::send(int peer, uint32_t tag, const std::byte* data, size_t bytes) {
  const int channel = channel_of(tag);
  shm_.taken(peer, channel);  // refuses peers that do not exist before a ring is made for them
  const Header header{bytes, tag, 0};
  size_t begin = std::min(piece_bytes_, bytes);
  post(peer, channel, reinterpret_cast<const std::byte*>(&header), sizeof header, data, begin);
  for (; begin < bytes; begin += std::min(piece_bytes_, bytes - begin))
    post(peer, channel, nullptr, 0, data + begin, std::min(piece_bytes_, bytes - begin));
}

std::pair<uint32_t, StagedCommunicator::Buffer> StagedCommunicator::take(int peer, int channel) {
  Buffer first(shm_.next_message_bytes(peer, channel));
  shm_.receive(peer, channel, first.data(), first.size());
  Header header;
  if (first.size() < sizeof header)
    throw CommError("comm/mismatch", peer, "rank " + std::to_string(peer) + " sent a message without a header");
  std::memcpy(&header, first.data(), sizeof header);
  size_t begin = first.size() - sizeof header;
  first.erase(first.begin(), first.begin() + sizeof header);
  first.resize(header.bytes);
  while (begin < header.bytes) {
    const size_t bytes = shm_.next_message_bytes(peer, channel);
    if (bytes == 0 || bytes > header.bytes - begin)
      throw CommError("comm/mismatch", peer, "rank " + std::to_string(peer) + " sent a message longer than it said");
    shm_.receive(peer, channel, first.data() + begin, bytes);
    begin += bytes;
  }
  return {header.tag, std::move(first)};
}

StagedCommunicator::Buffer StagedCommunicator::receive(int peer, uint32_t tag) {
  const auto aside = set_aside_.find({peer, tag});
  if (aside != set_aside_.end()) {
    Buffer oldest = std::move(aside->second.front());
    aside->second.pop_front();
    if (aside->second.empty()) set_aside_.erase(aside);
    return oldest;
  }
  for (;;) {
    auto [found, message] = take(peer, channel_of(tag));
    if (found == tag) return std::move(message);
    set_aside_[{peer, found}].push_back(std::move(message));
  }
}

}  // namespace merak
