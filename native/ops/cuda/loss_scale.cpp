// MerakLossScale on CUDA: what the step's loss is multiplied by (engine/loss_scale.h), for the seed of its gradients.
#include "ops/cuda/device/step.cuh"  // MerakStep
#include "ops/cuda/launch.h"

namespace merak {

void register_cuda_loss_scale() {
  using namespace cuda;
  register_cuda_kernel("MerakLossScale", [](const NodeSpec& spec, Device&) {
    require(spec.outputs[0].dtype == DType::f32 && spec.outputs[0].numel() == 1, "the scale is one float32");
    return make_kernel([](const void* const*, void* const* out, RunContext& context) {
      copy_bytes(&context.device_step->loss_scale, out[0], sizeof(float), stream_of(context));
    });
  });
}

}  // namespace merak
