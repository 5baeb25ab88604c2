// A CUDA device as the engine uses it: its context, kernels compiled for it once and kept, launches.
#pragma once
#include <cstddef>           // size_t
#include <initializer_list>  // launch arguments
#include <memory>            // hidden state
#include <string>            // sources
#include <vector>            // macros

#include "cuda/cublaslt.h"  // cublasLtHandle_t
#include "cuda/cudnn.h"     // cudnnHandle_t
#include "cuda/driver.h"    // handles

namespace merak::cuda {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Used by one thread at a time. What a call needs of CUDA's context it makes current on the calling thread.
class Device {
 public:
  // Retains the primary context of device `ordinal`. Throws EngineError 'engine/no-gpu'.
  explicit Device(int ordinal);
  // A card that is not there, for planning: kernels can be made, to be asked what they need, and not run; `function` gives null.
  static std::unique_ptr<Device> planned(int capability);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  bool is_there() const { return context_ != nullptr; }
  int ordinal() const { return ordinal_; }
  int capability() const { return capability_; }  // 80, 90
  int num_multiprocessors() const { return num_multiprocessors_; }
  size_t max_shared_bytes() const { return max_shared_bytes_; }  // of one block, after opting in
  size_t total_bytes() const { return total_bytes_; }
  const std::string& name() const { return name_; }
  void make_current() const;

  // A kernel of an embedded source (native/ops/cuda/<source>.cu), compiled for this card with these macros ("X=float"); kept in memory
  // and on disk. Throws EngineError 'engine/cuda' with the compiler's log.
  CUfunction function(const std::string& source, const std::string& entry, const std::vector<std::string>& defines = {});
  // The same of a text made at run time; it may include embedded .cuh files.
  CUfunction function_of_text(const std::string& text, const std::string& entry, const std::vector<std::string>& defines = {});
  // Enqueues a launch; `arguments` are the addresses of the kernel's arguments. A grid with a zero side launches nothing.
  void launch(CUfunction function, Dim3 grid, Dim3 block, size_t shared_bytes, CUstream stream, std::initializer_list<const void*> arguments);
  cublasLtHandle_t lt();
  // Only where cuda::cudnn() found one.
  cudnnHandle_t cudnn();

 private:
  struct Modules;
  Device();
  CUfunction find(const std::string& text, const std::string& name, const std::string& entry, const std::vector<std::string>& defines);
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  int ordinal_ = 0, capability_ = 0, num_multiprocessors_ = 0;
  size_t max_shared_bytes_ = 0, total_bytes_ = 0;
  std::string name_;
  std::unique_ptr<Modules> modules_;
  cublasLtHandle_t lt_ = nullptr;
  cudnnHandle_t cudnn_ = nullptr;
};

}  // namespace merak::cuda
