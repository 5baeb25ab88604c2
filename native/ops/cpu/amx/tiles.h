// Blocks of 32 x 32 sums in four of a thread's eight tiles: every tile of either operand that is loaded is used twice. Included by
// ops/cpu/amx/*.cpp only.
#pragma once
#include <immintrin.h>  // tiles

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

namespace merak::amx {

// GCC's intrinsics do not tell the compiler which memory tiles are loaded from: before them, what was written must be in memory.
[[gnu::always_inline]] static inline void settle_memory() { asm volatile("" ::: "memory"); }

// The layout that LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};

// Sums in tiles 0 to 3 (2 x 2), left operand in 4 and 5, right operand in 6 and 7, each 16 x 64 bytes; the sums and the left operand
// have `rows` rows (1 to 32) in all.
static inline void configure(size_t rows) {
  TileConfiguration configuration;
  const auto upper = static_cast<uint8_t>(rows < 16 ? rows : 16), lower = static_cast<uint8_t>(rows > 16 ? rows - 16 : 16);
  const uint8_t tile_rows[8] = {upper, upper, lower, lower, upper, lower, 16, 16};
  for (int i = 0; i < 8; i++) {
    configuration.rows[i] = tile_rows[i];
    configuration.bytes_per_row[i] = 64;
  }
  asm volatile("" : : "r"(&configuration) : "memory");
  _tile_loadconfig(&configuration);
}

constexpr size_t kBlock = 32;
constexpr size_t kRowBytesB = kBlock * 2 * sizeof(uint16_t);

// A second row of tiles only if Two.
template <bool Two>
[[gnu::always_inline]] static inline void sum_tiles(const uint16_t* a, size_t stride, const uint16_t* b, size_t steps, float* c, size_t ld,
                                             bool accumulate) {
  settle_memory();
  const size_t ld_bytes = ld * sizeof(float), a_bytes = stride * sizeof(uint16_t);
  if (accumulate) {
    _tile_loadd(0, c, ld_bytes);
    _tile_loadd(1, c + 16, ld_bytes);
    if (Two) _tile_loadd(2, c + 16 * ld, ld_bytes);
    if (Two) _tile_loadd(3, c + 16 * ld + 16, ld_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (Two) _tile_zero(2);
    if (Two) _tile_zero(3);
  }
  for (size_t step = 0; step < steps; step++) {
    _tile_loadd(6, b, kRowBytesB);
    _tile_loadd(4, a, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 32, kRowBytesB);
    _tile_dpbf16ps(1, 4, 7);
    if (Two) {
      _tile_loadd(5, a + 16 * stride, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    a += 32;
    b += 32 * kBlock;
  }
  _tile_stored(0, c, ld_bytes);
  _tile_stored(1, c + 16, ld_bytes);
  if (Two) _tile_stored(2, c + 16 * ld, ld_bytes);
  if (Two) _tile_stored(3, c + 16 * ld + 16, ld_bytes);
}

// c (+)= a b for `rows` rows (those configured) of a, `stride` elements apart, and a strip of 32 packed columns, over 32 `steps`
// elements of the inner dim.
static inline void sum_block(size_t rows, const uint16_t* a, size_t stride, const uint16_t* b, size_t steps, float* c, size_t ld,
                             bool accumulate) {
  if (rows > 16) sum_tiles<true>(a, stride, b, steps, c, ld, accumulate);
  else sum_tiles<false>(a, stride, b, steps, c, ld, accumulate);
}

}  // namespace merak::amx
