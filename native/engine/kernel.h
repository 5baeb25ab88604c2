// The contract between the engine and its kernels: a kernel is compiled once per program node (shapes and attributes
// known) and run with resolved addresses. Nothing here knows JavaScript.
#pragma once
#include <cstddef>    // size_t
#include <cstdint>    // fixed-width integers
#include <map>        // Attrs
#include <memory>     // std::unique_ptr<Kernel>
#include <stdexcept>  // std::runtime_error
#include <string>     // names
#include <variant>    // Attr
#include <vector>     // shapes

struct MerakStep;  // ops/cuda/device/step.cuh

namespace merak {

enum class DType : uint8_t { f32, i32, b8, bf16, i8, f16 };
constexpr size_t kNumDTypes = 6;

// The 16-bit floats that mixed precision keeps activations in.
inline bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

inline size_t size_of(DType dtype) { return dtype == DType::b8 || dtype == DType::i8 ? 1 : is_half(dtype) ? 2 : 4; }

using Shape = std::vector<int64_t>;

struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype); }
};

// An attribute as tfjs gives it. Numbers arrive as double, number lists as vector<double>.
using Attr = std::variant<std::monostate, bool, double, std::string, std::vector<double>, std::vector<std::string>>;

// Typed access with defaults; a missing required attribute or a wrong type throws std::runtime_error naming it.
struct Attrs {
  std::map<std::string, Attr> values;
  bool has(const std::string& name) const;
  bool flag(const std::string& name, bool fallback) const;
  double number(const std::string& name) const;
  double number(const std::string& name, double fallback) const;
  // A number as an integer; refused when it is no int32.
  int64_t integer(const std::string& name) const;
  int64_t integer(const std::string& name, int64_t fallback) const;
  std::string text(const std::string& name, const std::string& fallback) const;
  // A list of int32 values, or a single number read as a list of one.
  std::vector<int64_t> ints(const std::string& name) const;
  std::vector<int64_t> ints(const std::string& name, const std::vector<int64_t>& fallback) const;
};

class KeptWeights;
namespace cuda {
class RoundedWeights;
}

struct NodeSpec {
  std::string kernel;
  std::string scope;
  std::vector<TensorType> inputs;
  std::vector<std::string> input_names;
  std::vector<TensorType> outputs;
  Attrs attrs;
  // Where a right operand that stays (attribute weightStays) is kept packed; null: by the kernel.
  std::shared_ptr<KeptWeights> kept;
  // Of each input: its byte among the parameters, where it is one that no program of the executable writes; else -1. Empty: nothing known.
  std::vector<int64_t> parameter_at;
  // On a CUDA device: where weights are kept in 16 bits; null: they are rounded at each use.
  std::shared_ptr<cuda::RoundedWeights> rounded;
  // Index of the input called `name`, or -1.
  int input(const std::string& name) const;
};

class Communicator;

// What a kernel may know about the step it runs in.
struct RunContext {
  uint64_t seed = 0;
  uint32_t step = 0;
  int64_t micro = 0;              // micro-batch index
  int64_t num_micro_batches = 1;
  int64_t dp_index = 0;           // this rank on the data axis
  Communicator* comm = nullptr;   // set when the mesh has more than one rank
  int tp_group = -1;              // group id of axis tp, -1 when the axis has one rank
  int dp_group = -1;
  int tp_size = 1;                // ranks on each axis
  int dp_size = 1;
  uint64_t run = 0;               // counts states of the parameters: they are the same in runs of the same number
  void* scratch = nullptr;        // at least Kernel::scratch_bytes(), 64-byte aligned
  // On a CUDA device: the stream (CUstream) to enqueue on, and what changes from step to step (ops/cuda/device/step.cuh), in device
  // memory. What kernels read of seed, step and micro they read there: a captured graph runs again with others.
  void* stream = nullptr;
  const MerakStep* device_step = nullptr;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Bytes of workspace `run` needs (constant after construction).
  virtual size_t scratch_bytes() const { return 0; }
  // Bytes the kernel keeps from run to run beside its scratch.
  virtual size_t kept_bytes() const { return 0; }
  // Allocates them; before the first run.
  virtual void prepare() {}
  // On a CUDA device: whether `run` does nothing but enqueue, so that a CUDA graph can hold it.
  virtual bool enqueues_only() const { return true; }
  // Pointers in the order of NodeSpec. Outputs never alias inputs unless `in_place_input(output)` says so.
  virtual void run(const void* const* inputs, void* const* outputs, RunContext& context) = 0;
};

// Thrown while compiling a node the engine has no implementation for (dtype, rank, attribute value).
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using KernelFactory = std::unique_ptr<Kernel> (*)(const NodeSpec&);

// name -> factory. Each ops file registers its kernels from a function listed in ops/cpu/register.cpp.
void register_kernel(const std::string& name, KernelFactory factory);
KernelFactory find_kernel(const std::string& name);  // nullptr when there is none
std::vector<std::string> kernel_names();

}  // namespace merak
