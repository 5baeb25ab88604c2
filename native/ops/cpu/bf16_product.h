// A product of two matrices in bfloat16 with float32 sums: laying out the operands, multiplying, finishing.
#pragma once
#include <memory>  // std::unique_ptr

#include "engine/kernel.h"      // NodeSpec, RunContext
#include "ops/cpu/isa/bf16.h"   // Matrix
#include "ops/cpu/isa/finish.h"  // Finish

namespace merak {

// What is multiplied: [m, k] by [k, n]. `a` and `b` are the operands as they lie in memory, before any transposition, without data.
struct Bf16ProductPlan {
  size_t m, n, k;
  Matrix a, b;
  bool transpose_a, transpose_b;
  bool accumulate;  // out += product; the finish is plain then
  bool is_plain;    // the sums themselves, in float32, are the result
};

class Bf16Product {
 public:
  virtual ~Bf16Product() = default;
  virtual size_t scratch_bytes() const = 0;
  virtual size_t kept_bytes() const = 0;
  virtual void prepare() {}  // allocates them
  virtual void run(const void* a, const void* b, const Finish& finish, RunContext& context) = 0;
};

// By the tile unit; by oneDNN's bf16 products; by oneDNN's float32 products of rounded operands, which every processor has. The sums
// differ in order only. Throw Unsupported where the processor has none.
std::unique_ptr<Bf16Product> make_tile_product(const Bf16ProductPlan& plan, const NodeSpec& spec);
std::unique_ptr<Bf16Product> make_onednn_product(const Bf16ProductPlan& plan, const NodeSpec& spec);
std::unique_ptr<Bf16Product> make_widened_product(const Bf16ProductPlan& plan, const NodeSpec& spec);

// Rows [begin, end) of the left operand as bfloat16, `stride` >= k apart, zeros past k; on this thread.
void copy_left(const Bf16ProductPlan& plan, const void* a, size_t begin, size_t end, size_t stride, uint16_t* copied);
// The whole right operand, packed in strips.
void pack_right(const Bf16ProductPlan& plan, const void* b, size_t strip, uint16_t* packed);

}  // namespace merak
