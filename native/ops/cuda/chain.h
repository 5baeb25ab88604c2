// Chains of element-wise operations as one generated kernel: every input is read once, the result written once.
#pragma once
#include "ops/cuda/launch.h"

namespace merak::cuda {

struct ChainInput {
  DType dtype;
  Shape strides;  // in the result's dims, 0 where broadcast
};

// One operation of device/elementwise.cuh. Operands count the chain's inputs first, then its steps; `numbers` follow them.
struct ChainStep {
  std::string name;
  std::vector<int> operands;
  std::vector<double> numbers;
};

struct Chain {
  Shape shape;
  std::vector<ChainInput> inputs;
  std::vector<ChainStep> steps;  // the last one is the result
  DType result = DType::f32;
};

constexpr size_t kMostChainInputs = 16;

// What every step computes in: "float", or "double" where integers take part or rounding shows.
const char* work_of(const Chain& chain);

// The argument of a kernel that reads a chain's inputs.
struct ChainInputs {
  const void* x[kMostChainInputs];
};

// The text of a `Source` for device/reduction.cuh that computes the chain's elements instead of reading them.
std::string chain_reader(const Chain& chain);

// The CUDA source of a chain (kernel `chain`); a chain of whole tensors has the same one whatever their size.
std::string chain_source(const Chain& chain);

class DeviceChain {
 public:
  DeviceChain(Device& device, const Chain& chain);
  void run(const void* const* inputs, void* result, CUstream stream) const;

 private:
  Device* device_;
  CUfunction function_;
  size_t num_inputs_;
  int64_t count_, per_block_;
};

}  // namespace merak::cuda
