// What the other stand-ins need of the stand-in libcuda: putting work of their own on a stream.
#pragma once
#include <dlfcn.h>  // finding it

#include <functional>  // work
#include <memory>      // what a graph keeps
#include <string>      // paths

namespace merak_standin {

// Does its work, or a part of it; true once all is done.
using Poll = std::function<bool()>;
// Called each time the work's turn comes (a captured graph may be launched often).
using Start = std::function<Poll()>;

// The libcuda that lies beside this library and is loaded already.
inline void* libcuda() {
  static void* const handle = [] {
    Dl_info self;
    static const char mark = 0;
    dladdr(&mark, &self);
    const std::string path = self.dli_fname;
    return dlopen((path.substr(0, path.rfind('/') + 1) + "libcuda.so.1").c_str(), RTLD_NOW | RTLD_NOLOAD);
  }();
  return handle;
}

inline int enqueue(void* stream, Start start) {
  static const auto function = reinterpret_cast<int (*)(void*, Start*)>(dlsym(libcuda(), "merak_standin_enqueue"));
  return function(stream, &start);
}
// Whether a stream is captured; if so, `held` is let go of with the graph and whatever of it still runs.
inline bool retain(void* stream, std::shared_ptr<void> held) {
  static const auto function = reinterpret_cast<int (*)(void*, std::shared_ptr<void>*)>(dlsym(libcuda(), "merak_standin_retain"));
  return function(stream, &held) != 0;
}
inline bool is_captured(void* stream) {
  static const auto function = reinterpret_cast<int (*)(void*, std::shared_ptr<void>*)>(dlsym(libcuda(), "merak_standin_retain"));
  return function(stream, nullptr) != 0;
}
// Lets every stream go on, as a card does unasked.
inline void work() {
  static const auto function = reinterpret_cast<void (*)()>(dlsym(libcuda(), "merak_standin_work"));
  function();
}
// Counts memory of the card that a library takes for itself; negative: gives it back.
inline void take(long long bytes) {
  static const auto function = reinterpret_cast<void (*)(long long)>(dlsym(libcuda(), "merak_standin_take"));
  function(bytes);
}
// The device of the calling thread's context, -1 without one.
inline int current_device() {
  static const auto function = reinterpret_cast<int (*)()>(dlsym(libcuda(), "merak_standin_current_device"));
  return function();
}
// Lets go on what has begun and waits for another process.
inline void progress() {
  static const auto function = reinterpret_cast<void (*)()>(dlsym(libcuda(), "merak_standin_progress"));
  function();
}
inline bool is_device_memory(const void* address, size_t bytes) {
  static const auto function = reinterpret_cast<int (*)(const void*, size_t)>(dlsym(libcuda(), "merak_standin_is_device_memory"));
  return function(address, bytes) != 0;
}

}  // namespace merak_standin
