// An arena: memory whose front peers on the same host can map (memfd), so that collectives read it in place. What lies behind the
// front is this process's own, which costs the system less to hand out.
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
  static std::shared_ptr<Arena> create(const std::string& name, size_t bytes) { return create(name, bytes, bytes); }
  // Of which peers need the first `shared_bytes` only. They get more where the rest is not worth a mapping of its own.
  static std::shared_ptr<Arena> create(const std::string& name, size_t bytes, size_t shared_bytes);
  // The arena another process of this user created. Throws std::runtime_error when it is gone.
  static std::shared_ptr<Arena> open_peer(int pid, int fd, size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // What peers can map; 0: nothing, and no file.
  size_t shared_bytes() const { return shared_bytes_; }
  int fd() const { return fd_; }
  // Whether peers see what lies at `p`.
  bool shares(const void* p) const {
    auto* b = static_cast<const std::byte*>(p);
    return b >= data_ && b < data_ + shared_bytes_;
  }
  // Has the pages from byte `begin` to `end` made at once, which takes less than touching them one by one. Before Linux 5.14: nothing.
  void touch(size_t begin, size_t end);
  // Bytes of the pages touched so far, by whomever.
  size_t resident_bytes() const;

 private:
  Arena(std::byte* data, size_t bytes, size_t shared_bytes, int fd) : data_(data), bytes_(bytes), shared_bytes_(shared_bytes), fd_(fd) {}
  std::byte* data_;
  size_t bytes_;
  size_t shared_bytes_;
  int fd_;
};

}  // namespace merak
