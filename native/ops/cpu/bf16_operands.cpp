// Laying out operands for bf16 products: rounding, transposing and packing in one pass.
#include <algorithm>  // std::max
#include <cstring>    // memset, memcpy

#include "ops/cpu/bf16_product.h"
#include "ops/cpu/parallel.h"  // parallel_for

namespace merak {

void copy_left(const Bf16ProductPlan& plan, const void* data, size_t stride, uint16_t* copied) {
  const size_t k = plan.k;
  const auto clear_past = [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; stride > k && r < end; r++) std::memset(copied + r * int64_t(stride) + k, 0, (stride - k) * sizeof(uint16_t));
  };
  if (plan.transpose_a) {
    Matrix a = plan.a;
    a.data = data;
    const auto transpose = MERAK_PICK(transpose_to_bf16);
    parallel_for(static_cast<int64_t>(plan.m), 64, [&](int64_t begin, int64_t end) {
      transpose(a, static_cast<size_t>(begin), static_cast<size_t>(end), copied, stride);
      clear_past(begin, end);
    });
    return;
  }
  const auto round = MERAK_PICK(to_bf16);
  const int64_t grain = std::max<int64_t>(1, kParallelGrain / static_cast<int64_t>(k));
  parallel_for(static_cast<int64_t>(plan.m), grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      if (plan.a.wide) round(static_cast<const float*>(data) + r * int64_t(k), copied + r * int64_t(stride), k);
      else std::memcpy(copied + r * int64_t(stride), static_cast<const uint16_t*>(data) + r * int64_t(k), k * sizeof(uint16_t));
    }
    clear_past(begin, end);
  });
}

void pack_right(const Bf16ProductPlan& plan, const void* data, size_t strip, uint16_t* packed) {
  Matrix b = plan.b;
  b.data = data;
  const auto rows = MERAK_PICK(pack_rows);
  const auto grain = static_cast<int64_t>((std::max<size_t>(1, 2 * kParallelGrain / b.columns) + 15) / 16 * 16);
  parallel_for(static_cast<int64_t>(b.rows), grain, [&](int64_t begin, int64_t end) {
    rows(b, plan.transpose_b, strip, static_cast<size_t>(begin), static_cast<size_t>(end), packed);
  });
}

}  // namespace merak
