// Laying out operands for bf16 products: rounding, transposing and packing in one pass.
#include <algorithm>  // std::max
#include <cstddef>    // std::byte
#include <cstring>    // memset, memcpy
#include <type_traits>  // is_const

#include "ops/cpu/bf16_product.h"
#include "ops/cpu/parallel.h"  // parallel_for

namespace merak {

Finish from_row(const Finish& finish, size_t row) {
  const size_t count = row * finish.stride;
  const auto moved = [&](auto* data, bool narrow) {
    using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(data)>>, const std::byte, std::byte>;
    return data ? static_cast<Byte*>(data) + count * (narrow ? sizeof(uint16_t) : sizeof(float)) : nullptr;
  };
  Finish rest = finish;
  if (rest.residual) rest.residual += count;
  rest.point = moved(rest.point, rest.narrow_point);
  rest.out = moved(rest.out, rest.narrow_out);
  rest.activated = moved(rest.activated, rest.narrow_activated);
  return rest;
}

void copy_left(const Bf16ProductPlan& plan, const void* data, size_t begin, size_t end, size_t stride, uint16_t* copied) {
  const size_t k = plan.k;
  if (plan.transpose_a) {
    // Row `begin` of the transpose is column `begin` of what lies there.
    Matrix a = plan.a;
    a.data = static_cast<const std::byte*>(data) + begin * (a.wide ? sizeof(float) : sizeof(uint16_t));
    MERAK_PICK(transpose_to_bf16)(a, 0, end - begin, copied, stride);
  }
  const auto round = MERAK_PICK(to_bf16);
  for (size_t r = begin; r < end; r++) {
    uint16_t* row = copied + (r - begin) * stride;
    if (!plan.transpose_a && plan.a.wide) round(static_cast<const float*>(data) + r * k, row, k);
    else if (!plan.transpose_a) std::memcpy(row, static_cast<const uint16_t*>(data) + r * k, k * sizeof(uint16_t));
    std::memset(row + k, 0, (stride - k) * sizeof(uint16_t));
  }
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
