// Fibers: stacks to switch between, without system calls on x86-64.
#pragma once
#include <sys/mman.h>  // stacks

#include <cstdint>  // stack words
#include <cstdio>   // messages
#include <cstdlib>  // abort
#include <vector>   // stacks

#if !defined(__x86_64__)
#include <ucontext.h>  // elsewhere
#endif

namespace merak_emulation {

constexpr size_t kStackBytes = 128 << 10;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulated CUDA kernel: %s\n", what);
  std::abort();
}

#if defined(__x86_64__)
using Place = void*;  // a stack pointer
extern "C" void merak_emulation_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.globl merak_emulation_switch
.hidden merak_emulation_switch
.type merak_emulation_switch, @function
merak_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size merak_emulation_switch, .-merak_emulation_switch
)");
inline void switch_to(Place& from, Place& to) { merak_emulation_switch(&from, to); }
inline void begin_at(Place& place, unsigned char* stack, void (*entry)()) {
  auto* top = reinterpret_cast<uint64_t*>(stack + kStackBytes);
  *--top = 0;  // no return address: entry never returns, and finds its stack aligned as after a call
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; i++) *--top = 0;
  place = top;
}
#else
using Place = ucontext_t;
inline void switch_to(Place& from, Place& to) { swapcontext(&from, &to); }
inline void begin_at(Place& place, unsigned char* stack, void (*entry)()) {
  getcontext(&place);
  place.uc_stack.ss_sp = stack;
  place.uc_stack.ss_size = kStackBytes;
  place.uc_link = nullptr;
  makecontext(&place, entry, 0);
}
#endif

// Stacks are kept for the next block.
inline unsigned char* stack_of(size_t index) {
  static std::vector<unsigned char*> stacks;
  while (stacks.size() <= index) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("no memory for a thread's stack");
    mprotect(memory, 4096, PROT_NONE);  // a stack that runs over is noticed
    stacks.push_back(static_cast<unsigned char*>(memory));
  }
  return stacks[index];
}

}  // namespace merak_emulation
