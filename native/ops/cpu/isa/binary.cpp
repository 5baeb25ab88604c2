// The loops of isa/binary.h.
#include "ops/cpu/isa/binary.h"

namespace merak::MERAK_ISA {
namespace {

inline float op_add(float a, float b) { return a + b; }
inline float op_sub(float a, float b) { return a - b; }
inline float op_mul(float a, float b) { return a * b; }
inline float op_div(float a, float b) { return a / b; }
// NaN in either argument gives NaN, as JavaScript's Math.max and Math.min.
inline float op_maximum(float a, float b) { return (a > b) | (a != a) ? a : b; }
inline float op_minimum(float a, float b) { return (a < b) | (a != a) ? a : b; }
inline float op_squared_difference(float a, float b) { return (a - b) * (a - b); }
inline float op_prelu(float a, float b) {
  const float scaled = a * b;
  return a < 0.0f ? scaled : a;
}
inline float op_elu_grad(float a, float b) {
  const float scaled = a * (b + 1.0f);
  return b >= 0.0f ? a : scaled;
}
inline uint8_t op_equal(float a, float b) { return a == b; }
inline uint8_t op_not_equal(float a, float b) { return a != b; }
inline uint8_t op_greater(float a, float b) { return a > b; }
inline uint8_t op_greater_equal(float a, float b) { return a >= b; }
inline uint8_t op_less(float a, float b) { return a < b; }
inline uint8_t op_less_equal(float a, float b) { return a <= b; }

}  // namespace

#define MERAK_LOOP(prefix, op, type)                                                                                    \
  void prefix##_##op(const float* __restrict a, const float* __restrict b, type* __restrict y, size_t n, int step_a,   \
                     int step_b) {                                                                                      \
    if (step_a && step_b) {                                                                                             \
      for (size_t i = 0; i < n; i++) y[i] = op_##op(a[i], b[i]);                                                        \
    } else if (step_a) {                                                                                                \
      const float v = *b;                                                                                               \
      for (size_t i = 0; i < n; i++) y[i] = op_##op(a[i], v);                                                           \
    } else if (step_b) {                                                                                                \
      const float v = *a;                                                                                               \
      for (size_t i = 0; i < n; i++) y[i] = op_##op(v, b[i]);                                                           \
    } else {                                                                                                            \
      const type v = op_##op(*a, *b);                                                                                   \
      for (size_t i = 0; i < n; i++) y[i] = v;                                                                          \
    }                                                                                                                   \
  }
#define MERAK_BINARY_LOOP(op) MERAK_LOOP(binary, op, float)
#define MERAK_COMPARE_LOOP(op) MERAK_LOOP(compare, op, uint8_t)
MERAK_BINARY_OPS(MERAK_BINARY_LOOP)
MERAK_COMPARE_OPS(MERAK_COMPARE_LOOP)
#undef MERAK_BINARY_LOOP
#undef MERAK_COMPARE_LOOP
#undef MERAK_LOOP

}  // namespace merak::MERAK_ISA
