// A stand-in for libcuda on the CPU, for tests on machines without a GPU.
//
// Streams are queues that are worked off as late as possible: when somebody synchronises, queries, or makes a stream wait for an event.
// What was not ordered by an event therefore runs in an order that shows it. Copies from and to pinned memory touch it only then, as a
// card's would. Device memory is ordinary memory, filled with NaNs and followed by a page that cannot be touched.
// Nodes of a graph run as soon as those they depend on are done, the latest captured first: what a capture forgot to order shows. What a card
// forbids while a stream is captured (waiting, allocating, waiting for an event from outside) fails, and ends the capture.
// MERAK_STANDIN_DEVICES (1) and MERAK_STANDIN_MEMORY (bytes of each, 4 GiB) say what there is. MERAK_STANDIN_WAITS: a file that gets a line for
// every call that keeps the host until the card is done; MERAK_STANDIN_LAUNCHES: one that gets the name of every kernel that runs;
// MERAK_STANDIN_CALLS: one that gets every copy that is enqueued, every event recorded and waited for,
// every launch of a graph and every look at a stream, with the stream;
// MERAK_STANDIN_GRAPHS: one that gets a line for every graph launched: the process, how many nodes the graph has, and how many of NCCL's calls.
#include "libcuda.h"

#include <dlfcn.h>     // modules
#include <elf.h>       // how long a module is
#include <sys/mman.h>  // device memory
#include <unistd.h>    // temporary files

#include <cstring>  // memcpy
#include <map>      // allocations
#include <memory>   // functions
#include <string>   // names
#include <vector>   // copies

#include "cuda_stream_calls.h"  // streams, events, graphs
#include "version.h"            // version_setting

namespace {

struct Function {
  void (*launch)(unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, size_t, void**);
  std::vector<size_t> sizes;
  int max_shared = 48 << 10;
  std::string name;
};
struct Module {
  void* object;
  std::map<std::string, std::unique_ptr<Function>> functions;
};
struct Allocation {
  size_t bytes, mapped;
};

bool is_initialised = false;
std::map<Address, Allocation> device_memory;
std::map<Address, size_t> pinned;
size_t used_bytes = 0;
char contexts[64];

size_t setting(const char* name, size_t fallback) {
  const char* value = std::getenv(name);
  return value && *value ? std::strtoull(value, nullptr, 10) : fallback;
}
int num_devices() { return static_cast<int>(setting("MERAK_STANDIN_DEVICES", 1)); }
size_t total_bytes() { return setting("MERAK_STANDIN_MEMORY", size_t{4} << 30); }

template <class Ranges>
bool lies_in(const Ranges& ranges, Address address, size_t bytes) {
  auto after = ranges.upper_bound(address);
  if (after == ranges.begin()) return false;
  const auto& [begin, range] = *std::prev(after);
  size_t size;
  if constexpr (std::is_same_v<Ranges, std::map<Address, Allocation>>) size = range.bytes;
  else size = range;
  return address - begin <= size && bytes <= size - (address - begin);
}

// Enqueues a copy; memory of the host that is not pinned is read now, as cuda.h promises.
int copy_async(Address to, Address from, size_t bytes, void* handle, bool reads_host, bool writes_host) {
  const Lock lock(mutex);
  if (!is_initialised) return kNotInitialized;
  if (!reads_host && !lies_in(device_memory, from, bytes)) return kInvalidValue;
  if (!writes_host && !lies_in(device_memory, to, bytes)) return kInvalidValue;
  Stream* stream = stream_of(handle);
  if (stream && !stream->capture) note_call(reads_host ? "HtoD" : writes_host ? "DtoH" : "DtoD", handle, bytes);
  if (reads_host && !lies_in(pinned, from, bytes) && stream && !stream->capture) {
    auto data = std::make_shared<std::vector<char>>(reinterpret_cast<const char*>(from), reinterpret_cast<const char*>(from) + bytes);
    return enqueue(stream, once([to, data] { std::memcpy(reinterpret_cast<void*>(to), data->data(), data->size()); }));
  }
  const int result = enqueue(stream, once([to, from, bytes] { std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes); }));
  // To memory that is not pinned the card's copy is over when the call returns.
  if (writes_host && !lies_in(pinned, to, bytes) && result == kSuccess && stream && !stream->capture) settle(*stream, stream->enqueued);
  return result;
}

size_t elf_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  return header.e_shoff + static_cast<size_t>(header.e_shnum) * header.e_shentsize;
}

}  // namespace

EXPORT int merak_standin_enqueue(void* stream, Start* start) {
  const Lock lock(mutex);
  return enqueue(stream_of(stream), *start);
}
EXPORT int merak_standin_is_device_memory(const void* address, size_t bytes) {
  const Lock lock(mutex);
  return lies_in(device_memory, reinterpret_cast<Address>(address), bytes);
}
// Whether a stream is captured; if so, `held` is kept as long as the graph.
EXPORT int merak_standin_retain(void* handle, std::shared_ptr<void>* held) {
  const Lock lock(mutex);
  Stream* stream = stream_of(handle);
  if (!stream || !stream->capture) return 0;
  if (held) stream->capture->graph->retained.push_back(*held);
  return 1;
}
// Memory that a library takes for itself; negative: gives back.
EXPORT void merak_standin_take(long long bytes) {
  const Lock lock(mutex);
  used_bytes += static_cast<size_t>(bytes);
}
// A card needs nobody to go on.
EXPORT void merak_standin_work() {
  const Lock lock(mutex);
  const std::vector<Stream*> all(streams.begin(), streams.end());
  for (Stream* stream : all) advance(*stream, stream->enqueued);
}
// Whoever waits for another process lets what has begun go on, as a card would.
EXPORT void merak_standin_progress() {
  const Lock lock(mutex);
  const std::vector<Stream*> all(streams.begin(), streams.end());
  for (Stream* stream : all)
    if (!stream->queue.empty() && stream->queue.front().poll) advance(*stream, stream->done + 1);
}
EXPORT int merak_standin_current_device() {
  return current_context ? static_cast<int>(static_cast<char*>(current_context) - contexts) : -1;
}

EXPORT int cuInit(unsigned) {
  const Lock lock(mutex);
  if (num_devices() == 0) return kNoDevice;
  is_initialised = true;
  return kSuccess;
}
EXPORT int cuDriverGetVersion(int* version) {
  *version = merak_standin::version_setting("CUDA", 13000);
  return kSuccess;
}
EXPORT int cuGetErrorName(int error, const char** name) {
  switch (error) {
    case kSuccess: *name = "CUDA_SUCCESS"; break;
    case kInvalidValue: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case kOutOfMemory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case kNoDevice: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case kInvalidHandle: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
    case kNotFound: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case kNotReady: *name = "CUDA_ERROR_NOT_READY"; break;
    case kCaptureUnsupported: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    case kCaptureInvalidated: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    case kCaptureUnjoined: *name = "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"; break;
    case kCaptureIsolation: *name = "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"; break;
    default: *name = "CUDA_ERROR_UNKNOWN";
  }
  return kSuccess;
}
EXPORT int cuGetErrorString(int error, const char** text) {
  static thread_local char message[64];
  std::snprintf(message, sizeof message, "stand-in error %d", error);
  *text = message;
  return kSuccess;
}
EXPORT int cuDeviceGetCount(int* count) {
  *count = num_devices();
  return is_initialised ? kSuccess : kNotInitialized;
}
EXPORT int cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= num_devices()) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}
EXPORT int cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, static_cast<size_t>(length), "Stand-in GPU");
  return kSuccess;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 1: *value = 1024; break;           // threads of a block
    case 8: *value = 48 << 10; break;       // shared memory of a block
    case 10: *value = 32; break;            // warp
    case 13: *value = 1000000; break;       // kHz
    case 16: *value = 4; break;             // multiprocessors
    case 36: *value = 1000000; break;       // kHz of the memory
    case 37: *value = 64; break;            // bus bits
    case 38: *value = 1 << 20; break;       // L2
    case 39: *value = 2048; break;          // threads of a multiprocessor
    case 75: *value = 9; break;
    case 76: *value = 0; break;             // capability
    case 81: *value = 228 << 10; break;     // shared memory of a multiprocessor
    case 82: *value = 65536; break;         // registers
    case 97: *value = 227 << 10; break;     // shared memory of a block that asks
    default: *value = 0;
  }
  return kSuccess;
}
EXPORT int cuDeviceGetPCIBusId(char* id, int length, int device) {
  std::snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
  return kSuccess;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = total_bytes();
  return kSuccess;
}
EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
  if (!is_initialised) return kNotInitialized;
  if (device < 0 || device >= num_devices()) return kInvalidDevice;
  *context = &contexts[device];
  return kSuccess;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
EXPORT int cuCtxSetCurrent(void* context) {
  current_context = context;
  return kSuccess;
}
EXPORT int cuCtxGetCurrent(void** context) {
  *context = current_context;
  return kSuccess;
}
EXPORT int cuCtxSynchronize() {
  note_wait("cuCtxSynchronize");
  {
    const Lock lock(mutex);
    if (is_forbidden()) return kCaptureUnsupported;
  }
  settle_all();
  return kSuccess;
}

EXPORT int cuMemGetInfo_v2(size_t* free, size_t* total) {
  const Lock lock(mutex);
  *total = total_bytes();
  *free = *total - used_bytes;
  return kSuccess;
}
EXPORT int cuMemAlloc_v2(Address* address, size_t bytes) {
  const Lock lock(mutex);
  if (!current_context) return kInvalidContext;
  if (bytes == 0) return kInvalidValue;
  if (is_forbidden()) return kCaptureUnsupported;
  if (bytes > total_bytes() - used_bytes) return kOutOfMemory;
  constexpr size_t page = 4096;
  const size_t mapped = (bytes + page - 1) / page * page + page;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return kOutOfMemory;
  std::memset(memory, 0xff, bytes);
  mprotect(static_cast<char*>(memory) + mapped - page, page, PROT_NONE);
  *address = reinterpret_cast<Address>(memory);
  device_memory[*address] = {bytes, mapped};
  used_bytes += bytes;
  return kSuccess;
}
EXPORT int cuMemFree_v2(Address address) {
  {
    const Lock lock(mutex);
    if (is_forbidden()) return kCaptureUnsupported;
  }
  settle_all();  // as a card does
  const Lock lock(mutex);
  const auto found = device_memory.find(address);
  if (found == device_memory.end()) return kInvalidValue;
  used_bytes -= found->second.bytes;
  munmap(reinterpret_cast<void*>(address), found->second.mapped);
  device_memory.erase(found);
  return kSuccess;
}
EXPORT int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  const Lock lock(mutex);
  if (!current_context) return kInvalidContext;
  if (is_forbidden()) return kCaptureUnsupported;
  *address = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*address) return kOutOfMemory;
  std::memset(*address, 0xff, bytes);
  pinned[reinterpret_cast<Address>(*address)] = bytes;
  return kSuccess;
}
EXPORT int cuMemFreeHost(void* address) {
  const Lock lock(mutex);
  if (!pinned.erase(reinterpret_cast<Address>(address))) return kInvalidValue;
  std::free(address);
  return kSuccess;
}
EXPORT int cuMemHostRegister_v2(void* address, size_t bytes, unsigned) {
  const Lock lock(mutex);
  if (lies_in(pinned, reinterpret_cast<Address>(address), 1)) return kInvalidValue;
  pinned[reinterpret_cast<Address>(address)] = bytes;
  return kSuccess;
}
EXPORT int cuMemHostUnregister(void* address) {
  const Lock lock(mutex);
  return pinned.erase(reinterpret_cast<Address>(address)) ? kSuccess : kInvalidValue;
}

EXPORT int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
  return copy_async(to, reinterpret_cast<Address>(from), bytes, stream, true, false);
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
  return copy_async(reinterpret_cast<Address>(to), from, bytes, stream, false, true);
}
EXPORT int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* stream) { return copy_async(to, from, bytes, stream, false, false); }
// The plain copies belong to the default stream, which streams made with CU_STREAM_NON_BLOCKING do not wait for.
EXPORT int cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
  note_wait("cuMemcpyHtoD_v2");
  {
    const Lock lock(mutex);
    if (is_forbidden()) return kCaptureUnsupported;
  }
  const int result = copy_async(to, reinterpret_cast<Address>(from), bytes, nullptr, true, false);
  settle(default_stream, default_stream.enqueued);
  return result;
}
EXPORT int cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
  note_wait("cuMemcpyDtoH_v2");
  {
    const Lock lock(mutex);
    if (is_forbidden()) return kCaptureUnsupported;
  }
  const int result = copy_async(reinterpret_cast<Address>(to), from, bytes, nullptr, false, true);
  settle(default_stream, default_stream.enqueued);
  return result;
}
struct Copy2D {
  size_t from_x, from_y;
  int from_type;
  const void* from_host;
  Address from;
  void* from_array;
  size_t from_pitch, to_x, to_y;
  int to_type;
  void* to_host;
  Address to;
  void* to_array;
  size_t to_pitch, width, height;
};
// Between device memories only.
EXPORT int cuMemcpy2DAsync_v2(const Copy2D* copy, void* stream) {
  const Lock lock(mutex);
  const Copy2D c = *copy;
  if (c.from_type != 2 || c.to_type != 2 || c.from_pitch < c.width || c.to_pitch < c.width) return kInvalidValue;
  const Address from = c.from + c.from_y * c.from_pitch + c.from_x, to = c.to + c.to_y * c.to_pitch + c.to_x;
  if (c.height == 0 || c.width == 0) return kSuccess;
  if (!lies_in(device_memory, from, (c.height - 1) * c.from_pitch + c.width)) return kInvalidValue;
  if (!lies_in(device_memory, to, (c.height - 1) * c.to_pitch + c.width)) return kInvalidValue;
  return enqueue(stream_of(stream), once([=] {
                   for (size_t row = 0; row < c.height; row++)
                     std::memmove(reinterpret_cast<void*>(to + row * c.to_pitch), reinterpret_cast<const void*>(from + row * c.from_pitch), c.width);
                 }));
}
EXPORT int cuMemsetD8Async(Address to, unsigned char value, size_t count, void* stream) {
  const Lock lock(mutex);
  if (!lies_in(device_memory, to, count)) return kInvalidValue;
  return enqueue(stream_of(stream), once([=] { std::memset(reinterpret_cast<void*>(to), value, count); }));
}
EXPORT int cuMemsetD32Async(Address to, unsigned value, size_t count, void* stream) {
  const Lock lock(mutex);
  if (!lies_in(device_memory, to, count * 4) || to % 4) return kInvalidValue;
  return enqueue(stream_of(stream), once([=] {
                   for (size_t i = 0; i < count; i++) reinterpret_cast<unsigned*>(to)[i] = value;
                 }));
}

EXPORT int cuModuleLoadData(void** module, const void* image) {
  const Lock lock(mutex);
  if (!current_context) return kInvalidContext;
  const size_t bytes = elf_bytes(image);
  if (bytes == 0) return kInvalidImage;
  // A file of its own name each time: the dynamic linker takes equal names for the same object.
  char path[] = "/tmp/merak-standin-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) return kInvalidImage;
  const bool is_written = write(file, image, bytes) == static_cast<ssize_t>(bytes);
  close(file);
  void* object = is_written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(path);
  if (!object) {
    std::fprintf(stderr, "stand-in libcuda: %s\n", dlerror());
    return kInvalidImage;
  }
  *module = new Module{object, {}};
  return kSuccess;
}
EXPORT int cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) { return cuModuleLoadData(module, image); }
EXPORT int cuModuleUnload(void* handle) {
  settle_all();
  const Lock lock(mutex);
  // Its object stays: all modules use the emulation's state, which goes with the one that used it first.
  delete static_cast<Module*>(handle);
  return kSuccess;
}
EXPORT int cuModuleGetFunction(void** function, void* handle, const char* name) {
  const Lock lock(mutex);
  auto* module = static_cast<Module*>(handle);
  auto& entry = module->functions[name];
  if (!entry) {
    void* launch = dlsym(module->object, (std::string(name) + "_launch").c_str());
    const auto* sizes = static_cast<const size_t*>(dlsym(module->object, (std::string(name) + "_sizes").c_str()));
    if (!launch || !sizes) {
      module->functions.erase(name);
      return kNotFound;
    }
    entry = std::make_unique<Function>();
    entry->launch = reinterpret_cast<decltype(entry->launch)>(launch);
    entry->name = name;
    for (; *sizes; sizes++) entry->sizes.push_back(*sizes);
  }
  *function = entry.get();
  return kSuccess;
}
EXPORT int cuFuncSetAttribute(void* handle, int attribute, int value) {
  const Lock lock(mutex);
  if (attribute != 8) return kSuccess;
  if (value < 0 || value > 227 << 10) return kInvalidValue;
  static_cast<Function*>(handle)->max_shared = value;
  return kSuccess;
}
EXPORT int cuFuncGetAttribute(int* value, int attribute, void* handle) {
  *value = attribute == 0 ? 1024 : attribute == 8 ? static_cast<Function*>(handle)->max_shared : attribute == 4 ? 64 : 0;
  return kSuccess;
}
EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* count, void*, int block_size, size_t) {
  *count = std::max(1, 2048 / std::max(1, block_size));
  return kSuccess;
}
EXPORT int cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, void* stream, void** arguments, void** extra) {
  const Lock lock(mutex);
  auto* function = static_cast<Function*>(handle);
  if (!function || extra) return kInvalidValue;
  if (!grid_x || !grid_y || !grid_z || !block_x || !block_y || !block_z) return kInvalidValue;
  if (grid_y > 65535 || grid_z > 65535 || block_x * block_y * block_z > 1024 || block_z > 64) return kInvalidValue;
  if (static_cast<int>(shared_bytes) > function->max_shared) return kInvalidValue;
  // The values count as they are at the call.
  std::vector<std::vector<char>> values;
  for (size_t i = 0; i < function->sizes.size(); i++) {
    const char* value = static_cast<const char*>(arguments[i]);
    values.emplace_back(value, value + function->sizes[i]);
  }
  return enqueue(stream_of(stream), once([=, values = std::move(values)] {
                   std::vector<std::vector<char>> copies = values;  // vectors of char are aligned for any type
                   std::vector<void*> addresses;
                   for (auto& value : copies) addresses.push_back(value.data());
                   note("MERAK_STANDIN_LAUNCHES", function->name);
                   function->launch(grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, addresses.data());
                 }));
}
EXPORT int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  const Lock lock(mutex);
  return enqueue(stream_of(stream), once([=] { function(data); }));
}
