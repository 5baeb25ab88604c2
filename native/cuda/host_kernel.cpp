// Down, through the processor's kernel, and up.
#include "cuda/host_kernel.h"

#include "cuda/memory.h"      // address_of
#include "engine/aligned.h"   // the host's copies
#include "engine/registry.h"  // compile_kernel

namespace merak::cuda {
namespace {

class HostKernel : public Kernel {
 public:
  explicit HostKernel(const NodeSpec& spec) : kernel_(compile_kernel(spec)) {
    for (const TensorType& type : spec.inputs) input_bytes_.push_back(type.bytes());
    for (const TensorType& type : spec.outputs) output_bytes_.push_back(type.bytes());
  }

  size_t kept_bytes() const override { return kernel_->kept_bytes(); }
  bool enqueues_only() const override { return false; }

  void prepare() override {
    kernel_->prepare();
    for (const size_t bytes : input_bytes_) inputs_.push_back(aligned_bytes(bytes));
    for (const size_t bytes : output_bytes_) outputs_.push_back(aligned_bytes(bytes));
    scratch_ = aligned_bytes(kernel_->scratch_bytes());
  }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (inputs_.size() != input_bytes_.size() || outputs_.size() != output_bytes_.size()) prepare();
    check(driver().cuStreamSynchronize(static_cast<CUstream>(context.stream)), "cuStreamSynchronize");
    std::vector<const void*> from;
    std::vector<void*> to;
    for (size_t i = 0; i < inputs_.size(); i++) from.push_back(fetched(inputs_[i], inputs[i], input_bytes_[i]));
    for (size_t i = 0; i < outputs_.size(); i++) {
      // A result that lies over an operand is computed where that lies; one that is added to has to be known.
      void* place = nullptr;
      for (size_t k = 0; k < inputs_.size(); k++)
        if (inputs[k] == outputs[i]) place = inputs_[k].get();
      to.push_back(place ? place : fetched(outputs_[i], outputs[i], output_bytes_[i]));
    }
    RunContext own = context;
    own.scratch = scratch_.get();
    own.comm = nullptr;
    kernel_->run(from.data(), to.data(), own);
    for (size_t i = 0; i < outputs_.size(); i++)
      if (output_bytes_[i]) check(driver().cuMemcpyHtoD(address_of(outputs[i]), to[i], output_bytes_[i]), "cuMemcpyHtoD");
  }

 private:
  static void* fetched(const AlignedBytes& place, const void* from, size_t bytes) {
    if (bytes) check(driver().cuMemcpyDtoH(place.get(), address_of(from), bytes), "cuMemcpyDtoH");
    return place.get();
  }

  std::unique_ptr<Kernel> kernel_;
  std::vector<size_t> input_bytes_, output_bytes_;
  std::vector<AlignedBytes> inputs_, outputs_;
  AlignedBytes scratch_;
};

}  // namespace

std::unique_ptr<Kernel> make_host_kernel(const NodeSpec& spec) { return std::make_unique<HostKernel>(spec); }

}  // namespace merak::cuda
