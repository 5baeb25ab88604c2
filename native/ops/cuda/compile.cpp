// compile_cuda_kernel.
#include "ops/cuda/compile.h"

#include "engine/registry.h"     // describe
#include "engine/error.h"        // EngineError
#include "ops/cpu/contract.h"    // check_contract
#include "ops/cuda/register.h"   // find_cuda_kernel

namespace merak {

std::unique_ptr<Kernel> compile_cuda_kernel(const NodeSpec& spec, cuda::Device& device) {
  const CudaKernelFactory factory = find_cuda_kernel(spec.kernel);
  if (!factory) throw Unsupported("the CUDA engine has no kernel " + describe(spec));
  try {
    check_contract(spec);
    return factory(spec, device);
  } catch (const EngineError&) {
    throw;
  } catch (const Unsupported& reason) {
    throw Unsupported(describe(spec) + ": " + reason.what());
  } catch (const std::exception& reason) {
    throw std::runtime_error(describe(spec) + ": " + reason.what());
  }
}

}  // namespace merak
