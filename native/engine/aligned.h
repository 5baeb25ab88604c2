// Zeroed, 64-byte aligned memory of the process's own (scratch, single-node runs).
#pragma once
#include <cstddef>  // size_t
#include <cstdlib>  // aligned_alloc
#include <cstring>  // memset
#include <memory>   // unique_ptr
#include <new>      // bad_alloc

namespace merak {

struct FreeDeleter {
  void operator()(void* data) const { std::free(data); }
};
using AlignedBytes = std::unique_ptr<void, FreeDeleter>;

inline AlignedBytes aligned_bytes(size_t size) {
  const size_t rounded = (size + 63) / 64 * 64 + 64;
  void* data = std::aligned_alloc(64, rounded);
  if (!data) throw std::bad_alloc();
  std::memset(data, 0, rounded);
  return AlignedBytes(data);
}

}  // namespace merak
