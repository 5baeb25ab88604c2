#include "comm/arena.h"

#include <fcntl.h>     // open
#include <sys/mman.h>  // memfd_create, mmap
#include <unistd.h>    // ftruncate, close

#include <algorithm>  // min, count_if
#include <cerrno>     // errno
#include <cstring>    // strerror
#include <stdexcept>  // std::runtime_error
#include <vector>     // one entry per page

namespace merak {

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

// At `where`, which the process has reserved, or anywhere. Closes `fd` when it fails.
std::byte* map(int fd, size_t bytes, const std::string& what, void* where = nullptr) {
  void* p = mmap(where, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (where ? MAP_FIXED : 0), fd, 0);
  if (p == MAP_FAILED) {
    int saved = errno;
    close(fd);
    errno = saved;
    fail(what);
  }
  return static_cast<std::byte*>(p);
}

constexpr size_t kPage = 4096;
// Of private memory less than this is not worth a mapping of its own.
constexpr size_t kLeastPrivate = size_t{1} << 21;

size_t round_to_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

int create_file(const std::string& name, size_t bytes) {
  int fd = memfd_create(("merak-" + name).c_str(), MFD_CLOEXEC);
  if (fd < 0) fail("memfd_create for arena " + name);
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    fail("cannot size arena " + name + " to " + std::to_string(bytes) + " bytes");
  }
  return fd;
}

}  // namespace

std::shared_ptr<Arena> Arena::create(const std::string& name, size_t bytes, size_t shared_bytes) {
  bytes = std::max(kPage, round_to_pages(bytes));
  shared_bytes = round_to_pages(std::min(shared_bytes, bytes));
  if (bytes - shared_bytes < kLeastPrivate) shared_bytes = bytes;
  const std::string what = "cannot map arena " + name + " of " + std::to_string(bytes) + " bytes";
  if (shared_bytes == bytes) {
    int fd = create_file(name, bytes);
    return std::shared_ptr<Arena>(new Arena(map(fd, bytes, what), bytes, bytes, fd));
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) fail(what);
  std::shared_ptr<Arena> arena(new Arena(static_cast<std::byte*>(data), bytes, shared_bytes, -1));
  if (shared_bytes > 0) {
    int fd = create_file(name, shared_bytes);
    map(fd, shared_bytes, what, data);
    arena->fd_ = fd;
  }
  return arena;
}

std::shared_ptr<Arena> Arena::open_peer(int pid, int fd, size_t bytes) {
  bytes = std::max(kPage, round_to_pages(bytes));
  std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
  int own = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (own < 0) fail("cannot open the arena of process " + std::to_string(pid) + " at " + path);
  std::byte* data = map(own, bytes, "cannot map " + path);
  return std::shared_ptr<Arena>(new Arena(data, bytes, bytes, own));
}

Arena::~Arena() {
  munmap(data_, bytes_);
  if (fd_ >= 0) close(fd_);
}

void Arena::touch(size_t begin, size_t end) {
  begin = begin / kPage * kPage;
  (void)madvise(data_ + begin, std::min(end, bytes_) - begin, MADV_POPULATE_WRITE);
}

size_t Arena::resident_bytes() const {
  std::vector<unsigned char> pages(bytes_ / kPage);
  if (mincore(data_, bytes_, pages.data()) != 0) return bytes_;
  return kPage * static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

}  // namespace merak
