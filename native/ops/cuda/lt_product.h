// A strided batch of matrix products through cuBLASLt, its algorithm chosen once.
#pragma once
#include <memory>  // descriptors

#include "ops/cuda/launch.h"

namespace merak::cuda {

// Row-major: d [m, n] = epilogue(a [m, k] b [k, n] + beta c). `transpose_*`: the operand lies transposed, [k, m] or [n, k]. Strides are
// those from product to product, in elements; 0 for an operand that all share.
struct LtPlan {
  int64_t m = 0, n = 0, k = 0, batch = 1;
  bool transpose_a = false, transpose_b = false;
  int64_t a_stride = 0, b_stride = 0, d_stride = 0;
  DType operands = DType::f32, result = DType::f32;
  bool tf32 = false;                                         // float32 operands rounded to 19 bits
  bool has_bias = false;                                     // [n], in the result's dtype
  enum class Gelu { none, forward, gradient } gelu = Gelu::none;  // forward: `aux` gets what goes into gelu; gradient: it gives the point
};

class LtProduct {
 public:
  LtProduct() = default;
  // Throws Unsupported where cuBLASLt has no algorithm.
  LtProduct(Device& device, const LtPlan& plan);
  size_t scratch_bytes() const;
  void run(const void* a, const void* b, float beta, const void* c, void* d, const void* bias, void* aux, void* scratch, CUstream stream) const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // null on a card that is only planned
  bool is_chosen_ = false;
};

}  // namespace merak::cuda
