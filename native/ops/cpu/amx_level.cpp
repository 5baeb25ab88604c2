// Whether the tile unit may be used.
#include "ops/cpu/amx/attention.h"
#include "ops/cpu/amx/product.h"

#if defined(MERAK_HAS_AMX)
#include <cpuid.h>        // cpuid
#include <sys/syscall.h>  // SYS_arch_prctl
#include <unistd.h>       // syscall

#include <cstdlib>  // getenv
#endif

namespace merak::amx {

#if defined(MERAK_HAS_AMX)

namespace {

bool detect() {
  const char* limit = std::getenv("MERAK_ISA");
  if (isa() != Isa::avx512 || (limit && *limit)) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16) == 0 || (d & kTiles) == 0) return false;
  // Linux saves the tiles of processes that asked for them only (ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

}  // namespace

bool available() {
  static const bool is_available = detect();
  return is_available;
}

#else

bool available() { return false; }
size_t rows_at_once(size_t, size_t, bool) { return 0; }
void multiply(const Product&, const Finish&, size_t, size_t, float*) {}
size_t attention_workspace(const AttentionHead&) { return 0; }
size_t attention_grad_workspace(const AttentionHead&) { return 0; }
void attention(const AttentionHead&, const uint16_t*, const uint16_t*, const uint16_t*, void*, float*, void*) {}
void attention_grad(const AttentionHead&, const void*, const uint16_t*, const uint16_t*, const uint16_t*, const void*, const float*, void*,
                    void*, void*, void*) {}

#endif

}  // namespace merak::amx
