// A block of threads, its barrier, and the launch of a grid.
#pragma once
#include <cstring>  // memset
#include <mutex>    // one launch at a time
#include <utility>  // index_sequence

#include "fibers.h"
#include "language.h"

// Everything that __shared__ made, if anything did.
extern "C" unsigned char __start_merak_shared[] __attribute__((weak, visibility("hidden")));
extern "C" unsigned char __stop_merak_shared[] __attribute__((weak, visibility("hidden")));

namespace merak_emulation {

struct Copy {  // an asynchronous copy under way
  void* to;
  const void* from;
  int bytes;  // of sixteen; the rest becomes zeros
};

struct Warp {
  unsigned num_live = 0, arrived = 0, generation = 0;
  alignas(16) unsigned char slots[2][32][64];  // what lanes hand to each other, of this meeting and of the one before
};

struct Thread {
  uint3 index;
  unsigned number, lane;
  Warp* warp;
  bool is_done;
  Place place;
  std::vector<Copy> copies;     // in order
  std::vector<size_t> groups;   // ends of the committed groups
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  unsigned num_live = 0, arrived = 0, generation = 0;
  size_t idle = 0;  // yields since anything happened
  Place outside;
  void (*body)(void*);
  void* arguments;
};

inline Block block;
inline Thread* current = nullptr;
inline unsigned char* dynamic_shared = nullptr;
inline uint3 block_index;
inline dim3 block_size, grid_size;

inline void hand_to(Thread* next) {
  Thread* self = current;
  if (next == self) return;
  current = next;
  switch_to(self->place, next->place);
}

// The next thread among `count` from `first` on that still runs, after this one; itself when there is no other.
inline Thread* next_of(unsigned first, unsigned count) {
#ifdef MERAK_EMULATION_REVERSED
  const unsigned step = count - 1;
#else
  const unsigned step = 1;
#endif
  unsigned at = current->number - first;
  for (unsigned i = 0; i < count; i++) {
    at = (at + step) % count;
    if (!block.threads[first + at].is_done) return &block.threads[first + at];
  }
  return nullptr;
}

inline void note_idle() {
  if (++block.idle > 64 * block.threads.size() + 4096) fail("threads wait for each other at different barriers");
}
inline void yield_in_block() {
  note_idle();
  hand_to(next_of(0, static_cast<unsigned>(block.threads.size())));
}
inline void yield_in_warp() {
  note_idle();
  const unsigned first = current->number & ~31u, count = static_cast<unsigned>(block.threads.size()) - first;
  hand_to(next_of(first, count < 32 ? count : 32));
}

inline void release_block() {
  block.arrived = 0;
  block.generation++;
  block.idle = 0;
}

inline void sync_block() {
  const unsigned mine = block.generation;
  if (++block.arrived == block.num_live) return release_block();
  while (block.generation == mine) yield_in_block();
}

[[noreturn]] inline void run_thread() {
  block.body(block.arguments);
  if (!current->copies.empty()) fail("an asynchronous copy was never waited for");
  Thread* self = current;
  self->is_done = true;
  self->warp->num_live--;
  block.num_live--;
  block.idle = 0;
  if (self->warp->arrived != 0 && self->warp->arrived == self->warp->num_live) fail("a thread left while its warp waits for it");
  if (block.arrived != 0 && block.arrived == block.num_live) release_block();
  Thread* next = next_of(0, static_cast<unsigned>(block.threads.size()));
  if (!next) switch_to(self->place, block.outside);
  current = next;
  switch_to(self->place, next->place);
  fail("a finished thread was resumed");
}

inline void run_block(unsigned char* shared, size_t shared_bytes) {
  constexpr size_t kGuard = 256;
  if (__start_merak_shared) std::memset(__start_merak_shared, 0xff, static_cast<size_t>(__stop_merak_shared - __start_merak_shared));
  std::memset(shared, 0xff, shared_bytes);
  std::memset(shared + shared_bytes, 0x5a, kGuard);
  const unsigned count = block_size.x * block_size.y * block_size.z;
  block.threads.resize(count);
  block.warps.resize((count + 31) / 32);
  for (Warp& warp : block.warps) warp.num_live = warp.arrived = 0;
  block.num_live = count;
  block.arrived = 0;
  block.idle = 0;
  for (unsigned i = 0; i < count; i++) {
    Thread& thread = block.threads[i];
    thread.index = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
    thread.number = i;
    thread.lane = i & 31;
    thread.warp = &block.warps[i / 32];
    thread.warp->num_live++;
    thread.is_done = false;
    thread.copies.clear();
    thread.groups.clear();
    begin_at(thread.place, stack_of(i), run_thread);
  }
#ifdef MERAK_EMULATION_REVERSED
  current = &block.threads[count - 1];
#else
  current = &block.threads[0];
#endif
  switch_to(block.outside, current->place);
  for (size_t i = 0; i < kGuard; i++)
    if (shared[shared_bytes + i] != 0x5a) fail("a block wrote past its dynamic shared memory");
}

inline void run_grid(void (*body)(void*), void* arguments, dim3 grid, dim3 size, size_t shared_bytes) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (size.x * size.y * size.z == 0 || size.x * size.y * size.z > 1024) fail("a block has 1 to 1024 threads");
  std::vector<unsigned char> memory(shared_bytes + 512);
  auto* shared = memory.data() + (128 - reinterpret_cast<uintptr_t>(memory.data()) % 128) % 128;
  dynamic_shared = shared;
  block_size = size;
  grid_size = grid;
  block.body = body;
  block.arguments = arguments;
  const uint64_t count = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  for (uint64_t n = 0; n < count; n++) {
#ifdef MERAK_EMULATION_REVERSED
    const uint64_t i = count - 1 - n;
#else
    const uint64_t i = n;
#endif
    block_index = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y), static_cast<unsigned>(i / grid.x / grid.y)};
    run_block(shared, shared_bytes);
  }
}

// Calls a kernel with the arguments whose addresses lie in `addresses`, as the driver's launch takes them.
template <class... Arguments>
void launch(void (*kernel)(Arguments...), dim3 grid, dim3 size, size_t shared_bytes, void** addresses) {
  struct Call {
    void (*kernel)(Arguments...);
    void** addresses;
  } call{kernel, addresses};
  const auto body = [](void* data) {
    const Call& one = *static_cast<Call*>(data);
    [&]<size_t... I>(std::index_sequence<I...>) { one.kernel(*static_cast<Arguments*>(one.addresses[I])...); }
    (std::index_sequence_for<Arguments...>{});
  };
  run_grid(body, &call, grid, size, shared_bytes);
}

}  // namespace merak_emulation

#define threadIdx (merak_emulation::current->index)
#define blockIdx (merak_emulation::block_index)
#define blockDim (merak_emulation::block_size)
#define gridDim (merak_emulation::grid_size)
constexpr int warpSize = 32;
inline void __syncthreads() { merak_emulation::sync_block(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

#define MERAK_EMULATED_ENTRY(name)                                                                                                     \
  extern "C" __attribute__((visibility("default"))) void name##_launch(unsigned grid_x, unsigned grid_y, unsigned grid_z,              \
                                                                        unsigned block_x, unsigned block_y, unsigned block_z,           \
                                                                        size_t shared_bytes, void** addresses) {                        \
    merak_emulation::launch(name, dim3(grid_x, grid_y, grid_z), dim3(block_x, block_y, block_z), shared_bytes, addresses);             \
  }
