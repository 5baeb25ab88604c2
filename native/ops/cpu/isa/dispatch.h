// Run-time choice between the builds of ops/cpu/isa/*.cpp. Every such file is compiled once per instruction set with
// MERAK_ISA set to isa_generic, isa_avx2 or isa_avx512 (some also to isa_amx, for ops/cpu/amx alone) and puts all it defines in that namespace (helpers too, so that the
// linker never mixes code of two instruction sets; include no header with inline functions of its own besides these).
//
//   // isa/foo.h
//   MERAK_ISA_DECLARE(void foo(const float* x, float* y, size_t n);)
//   // isa/foo.cpp
//   namespace merak::MERAK_ISA { void foo(...) { ... } }
//   // foo_kernel.cpp
//   MERAK_PICK(foo)(x, y, n);
#pragma once

namespace merak {

enum class Isa { generic, avx2, avx512 };

// The best instruction set of this CPU, lowered by the environment variable MERAK_ISA=generic|avx2|avx512 (read once; any of them also
// forbids the tile unit, ops/cpu/amx).
Isa isa();
const char* isa_name(Isa isa);

template <class Function>
Function* pick(Function* generic, Function* avx2, Function* avx512) {
  switch (isa()) {
    case Isa::avx512: return avx512;
    case Isa::avx2: return avx2;
    default: return generic;
  }
}

}  // namespace merak

#if defined(__x86_64__) && defined(MERAK_NO_AVX512)  // sanitizer builds
#define MERAK_ISA_DECLARE(...)                 \
  namespace merak::isa_generic { __VA_ARGS__ } \
  namespace merak::isa_avx2 { __VA_ARGS__ }
#define MERAK_PICK(name) ::merak::pick(&::merak::isa_generic::name, &::merak::isa_avx2::name, &::merak::isa_avx2::name)
#elif defined(__x86_64__)
#define MERAK_ISA_DECLARE(...)                          \
  namespace merak::isa_generic { __VA_ARGS__ }          \
  namespace merak::isa_avx2 { __VA_ARGS__ }             \
  namespace merak::isa_avx512 { __VA_ARGS__ }           \
  namespace merak::isa_amx { __VA_ARGS__ }
#define MERAK_PICK(name) ::merak::pick(&::merak::isa_generic::name, &::merak::isa_avx2::name, &::merak::isa_avx512::name)
#else
#define MERAK_ISA_DECLARE(...) namespace merak::isa_generic { __VA_ARGS__ }
#define MERAK_PICK(name) (&::merak::isa_generic::name)
#endif
