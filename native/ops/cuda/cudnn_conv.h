// Convolutions and their gradients through cuDNN, where it is there and takes the shape.
#pragma once
#include <memory>  // std::unique_ptr<Kernel>

#include "ops/cpu/window.h"  // Window
#include "ops/cuda/launch.h"

namespace merak::cuda {

enum Direction { kForward, kInputGradient, kFilterGradient };  // as conv.cu counts them

struct CudnnPlan {
  Direction direction;
  Window window;           // its channels are not read
  int64_t in, out;         // channels
  size_t num_spatial;      // 2 or 3
  DType operands;          // what float32 tensors are rounded to for the product: float32, bfloat16 or float16; sums are float32
  bool tf32;               // float32 operands may be rounded to 19 bits
  size_t first, second;    // the node's inputs: x or dy, then the filter or dy
};

// Null where there is no cuDNN, or none of its deterministic algorithms takes the plan.
std::unique_ptr<Kernel> make_cudnn_convolution(Device& device, const CudnnPlan& plan);

}  // namespace merak::cuda
