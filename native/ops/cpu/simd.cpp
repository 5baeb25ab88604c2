// The dispatch behind simd.h.
#include "ops/cpu/simd.h"

#include "ops/cpu/isa/unary.h"  // the loops

namespace merak {

#define MERAK_SPAN(op)                                 \
  void v##op(const float* x, float* y, size_t n) {     \
    static const auto loop = MERAK_PICK(unary_##op);   \
    loop(x, y, n, 0.0f, 0.0f);                         \
  }
MERAK_SPAN(exp)
MERAK_SPAN(expm1)
MERAK_SPAN(log)
MERAK_SPAN(log1p)
MERAK_SPAN(tanh)
MERAK_SPAN(sigmoid)
MERAK_SPAN(erf)
MERAK_SPAN(sqrt)
MERAK_SPAN(rsqrt)
MERAK_SPAN(sin)
MERAK_SPAN(cos)
#undef MERAK_SPAN

}  // namespace merak
