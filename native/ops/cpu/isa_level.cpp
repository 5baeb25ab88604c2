// Which instruction set the vector kernels use on this CPU.
#include <cstdlib>  // getenv
#include <cstring>  // strcmp

#include "ops/cpu/isa/dispatch.h"

namespace merak {
namespace {

Isa detect() {
  Isa best = Isa::generic;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Isa::avx2;
  if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    best = Isa::avx512;
#endif
  const char* limit = std::getenv("MERAK_ISA");
  if (limit && !std::strcmp(limit, "generic")) return Isa::generic;
  if (limit && !std::strcmp(limit, "avx2") && best == Isa::avx512) return Isa::avx2;
  return best;
}

}  // namespace

Isa isa() {
  static const Isa level = detect();
  return level;
}

const char* isa_name(Isa level) {
  return level == Isa::avx512 ? "avx512" : level == Isa::avx2 ? "avx2" : "generic";
}

}  // namespace merak
