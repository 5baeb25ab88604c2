// Which communicator carries the exchanges of ranks on GPUs.
#include <unistd.h>  // gethostname

#include <set>  // cards

#include "comm/gpu/agreed.h"

namespace merak {

namespace {

// What goes before the names of handles: whose they are.
const std::string kNccl = "nccl:", kStaged = "staged:", kCard = "card:";
const std::string kFindsNccl = "+nccl";

bool begins(const std::string& text, const std::string& with) { return text.rfind(with, 0) == 0; }
bool ends(const std::string& text, const std::string& with) { return text.size() >= with.size() && text.compare(text.size() - with.size(), with.size(), with) == 0; }

// A name that no other card has, on whatever host and under whatever number.
std::string name_of_card(const cuda::Device& device) {
  char host[256] = "", bus[32] = "";
  gethostname(host, sizeof host - 1);
  cuda::CUdevice handle = 0;
  cuda::check(cuda::driver().cuDeviceGet(&handle, device.ordinal()), "cuDeviceGet");
  cuda::check(cuda::driver().cuDeviceGetPCIBusId(bus, sizeof bus, handle), "cuDeviceGetPCIBusId");
  return kCard + host + "/" + bus;
}

}  // namespace

AgreedCommunicator::AgreedCommunicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups)
    : rank_(rank), world_size_(world_size), staged_(device, rank, world_size, groups), card_(name_of_card(device)) {
  if (!cuda::find_nccl().library.handle) return;
  nccl_ = std::make_unique<NcclCommunicator>(device, rank, world_size, groups);
  card_ += kFindsNccl;
}

std::vector<ArenaHandle> AgreedCommunicator::handles() const {
  std::vector<ArenaHandle> handles;
  for (ArenaHandle handle : staged_.handles()) {
    if (handles.empty()) handles.push_back({card_, handle.fd, handle.bytes});
    handle.arena = kStaged + handle.arena;
    handles.push_back(handle);
  }
  if (!nccl_) return handles;
  for (ArenaHandle handle : nccl_->handles()) {
    handle.arena = kNccl + handle.arena;
    handles.push_back(handle);
  }
  return handles;
}

void AgreedCommunicator::connect(int rank, const std::string& arena, int pid, int fd, size_t bytes) {
  if (begins(arena, kCard)) peers_[rank] = arena;
  else if (begins(arena, kStaged)) staged_.connect(rank, arena.substr(kStaged.size()), pid, fd, bytes);
  else if (nccl_ && begins(arena, kNccl)) nccl_->connect(rank, arena.substr(kNccl.size()), pid, fd, bytes);
}

void AgreedCommunicator::abort(const std::string& reason) {
  staged_.abort(reason);
  if (nccl_) nccl_->abort(reason);
}

DeviceCommunicator& AgreedCommunicator::chosen() {
  if (chosen_) return *chosen_;
  std::set<std::string> cards = {card_};
  bool all_find_it = nccl_ != nullptr;
  for (const auto& [peer, card] : peers_) {
    cards.insert(card);
    all_find_it = all_find_it && ends(card, kFindsNccl);
  }
  const bool own_cards = static_cast<int>(cards.size()) == world_size_;
  chosen_ = own_cards && all_find_it ? static_cast<DeviceCommunicator*>(nccl_.get()) : &staged_;
  chosen_->set_stream(stream_);
  return *chosen_;
}

std::unique_ptr<DeviceCommunicator> make_device_communicator(cuda::Device& device, int rank, int world_size, const std::vector<GroupSpec>& groups) {
  return std::make_unique<AgreedCommunicator>(device, rank, world_size, groups);
}

}  // namespace merak
