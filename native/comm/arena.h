// An arena: memory that peers on the same host can map (memfd), so that collectives read it in place.
#pragma once
#include <cstddef>  // size_t, std::byte
#include <memory>   // shared ownership of a mapping
#include <string>   // names

namespace merak {

// Where a peer finds an arena of this process.
struct ArenaHandle {
  std::string arena;
  int fd;
  size_t bytes;
};

class Arena {
 public:
  // A fresh zero-filled arena of `bytes` (rounded up to pages). Throws std::runtime_error when memory is not to be had.
  static std::shared_ptr<Arena> create(const std::string& name, size_t bytes);
  // The arena another process of this user created. Throws std::runtime_error when it is gone.
  static std::shared_ptr<Arena> open_peer(int pid, int fd, size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  int fd() const { return fd_; }
  bool contains(const void* p) const {
    auto* b = static_cast<const std::byte*>(p);
    return b >= data_ && b < data_ + bytes_;
  }

 private:
  Arena(std::byte* data, size_t bytes, int fd) : data_(data), bytes_(bytes), fd_(fd) {}
  std::byte* data_;
  size_t bytes_;
  int fd_;
};

}  // namespace merak
