// Configuring this thread's tiles. Included by ops/cpu/amx/*.cpp only.
#pragma once
#include <immintrin.h>  // tiles

#include <cstdint>  // uint8_t

namespace merak::amx {

// The layout that LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};

// Sums in tiles 0 to 3 (2 x 2), left operand in 4 and 5, right operand in 6 and 7, each 16 x 64 bytes; the sums and the left operand
// have `rows` rows (1 to 32) in all.
inline void configure(size_t rows) {
  TileConfiguration configuration;
  const auto upper = static_cast<uint8_t>(rows < 16 ? rows : 16), lower = static_cast<uint8_t>(rows > 16 ? rows - 16 : 16);
  const uint8_t tile_rows[8] = {upper, upper, lower, lower, upper, lower, 16, 16};
  for (int i = 0; i < 8; i++) {
    configuration.rows[i] = tile_rows[i];
    configuration.bytes_per_row[i] = 64;
  }
  _tile_loadconfig(&configuration);
}

}  // namespace merak::amx
