// Philox4x32-10 (Salmon et al., SC'11), sixteen blocks side by side.
#include "ops/cpu/isa/philox.h"

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

constexpr int kLanes = 16;
constexpr int kNumRounds = 10;

inline void rounds(uint32_t* restrict c0, uint32_t* restrict c1, uint32_t* restrict c2, uint32_t* restrict c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < kNumRounds; round++) {
    for (int i = 0; i < kLanes; i++) {
      const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * c0[i];
      const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * c2[i];
      const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1[i] ^ k0;
      const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<uint32_t>(product1);
      c3[i] = static_cast<uint32_t>(product0);
      c0[i] = next0;
      c2[i] = next2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

}  // namespace

void philox_blocks(const RandomStream& stream, uint64_t first_block, size_t num_blocks, uint32_t* words) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (size_t done = 0; done < num_blocks; done += kLanes) {
    for (int i = 0; i < kLanes; i++) {
      const uint64_t block = first_block + done + static_cast<uint64_t>(i);
      c0[i] = static_cast<uint32_t>(block);
      c1[i] = static_cast<uint32_t>(block >> 32);
      c2[i] = stream.step;
      c3[i] = stream.node;
    }
    rounds(c0, c1, c2, c3, static_cast<uint32_t>(stream.seed), static_cast<uint32_t>(stream.seed >> 32));
    const int count = num_blocks - done < kLanes ? static_cast<int>(num_blocks - done) : kLanes;
    uint32_t* out = words + done * 4;
    for (int i = 0; i < count; i++) {
      out[4 * i] = c0[i];
      out[4 * i + 1] = c1[i];
      out[4 * i + 2] = c2[i];
      out[4 * i + 3] = c3[i];
    }
  }
}

void keep_or_drop(const float* restrict x, const uint32_t* restrict words, uint32_t threshold, float scale, float* restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = x[i] * ((words[i] >> 8) >= threshold ? scale : 0.0f);
}

}  // namespace merak::MERAK_ISA
