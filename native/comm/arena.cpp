#include "comm/arena.h"

#include <fcntl.h>     // open
#include <sys/mman.h>  // memfd_create, mmap
#include <unistd.h>    // ftruncate, close

#include <cerrno>     // errno
#include <cstring>    // strerror
#include <stdexcept>  // std::runtime_error

namespace merak {

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

std::byte* map(int fd, size_t bytes, const std::string& what) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) {
    int saved = errno;
    close(fd);
    errno = saved;
    fail(what);
  }
  return static_cast<std::byte*>(p);
}

size_t round_to_pages(size_t bytes) {
  constexpr size_t page = 4096;
  return bytes == 0 ? page : (bytes + page - 1) / page * page;
}

}  // namespace

std::shared_ptr<Arena> Arena::create(const std::string& name, size_t bytes) {
  bytes = round_to_pages(bytes);
  int fd = memfd_create(("merak-" + name).c_str(), MFD_CLOEXEC);
  if (fd < 0) fail("memfd_create for arena " + name);
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    fail("cannot size arena " + name + " to " + std::to_string(bytes) + " bytes");
  }
  std::byte* data = map(fd, bytes, "cannot map arena " + name + " of " + std::to_string(bytes) + " bytes");
  return std::shared_ptr<Arena>(new Arena(data, bytes, fd));
}

std::shared_ptr<Arena> Arena::open_peer(int pid, int fd, size_t bytes) {
  bytes = round_to_pages(bytes);
  std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  int own = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (own < 0) fail("cannot open the arena of process " + std::to_string(pid) + " at " + path);
  std::byte* data = map(own, bytes, "cannot map " + path);
  return std::shared_ptr<Arena>(new Arena(data, bytes, own));
}

Arena::~Arena() {
  munmap(data_, bytes_);
  close(fd_);
}

}  // namespace merak
