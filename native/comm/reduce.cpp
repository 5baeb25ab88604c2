#include "comm/reduce.h"

#include <algorithm>  // min, max
#include <cstring>    // memcpy

// A sanitizer is not there yet when the loader chooses among clones.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MERAK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MERAK_CLONES
#endif

namespace merak {

namespace {

// A tile stays in the first-level cache while all buffers are folded into it.
constexpr size_t kTile = 2048;

MERAK_CLONES void add(float* __restrict acc, const float* __restrict x, size_t n) {
  for (size_t i = 0; i < n; ++i) acc[i] += x[i];
}
MERAK_CLONES void take_max(float* __restrict acc, const float* __restrict x, size_t n) {
  // A NaN on either side stays, as in tfjs.
  for (size_t i = 0; i < n; ++i) acc[i] = acc[i] > x[i] || acc[i] != acc[i] ? acc[i] : x[i];
}
MERAK_CLONES void multiply(float* acc, size_t n, float scale) {
  for (size_t i = 0; i < n; ++i) acc[i] *= scale;
}

template <class Store>
void reduce(float* const* buffers, size_t num_buffers, size_t count, bool sum, float scale, Store store) {
  alignas(64) float tile[kTile];
  for (size_t begin = 0; begin < count; begin += kTile) {
    size_t n = std::min(kTile, count - begin);
    std::memcpy(tile, buffers[0] + begin, n * sizeof(float));
    for (size_t b = 1; b < num_buffers; ++b) sum ? add(tile, buffers[b] + begin, n) : take_max(tile, buffers[b] + begin, n);
    if (sum && scale != 1.0f) multiply(tile, n, scale);
    store(begin, tile, n);
  }
}

}  // namespace

void reduce_into(float* out, float* const* buffers, size_t num_buffers, size_t count, bool sum, float scale) {
  reduce(buffers, num_buffers, count, sum, scale,
         [&](size_t begin, const float* tile, size_t n) { std::memcpy(out + begin, tile, n * sizeof(float)); });
}

void reduce_to_all(float* const* buffers, size_t num_buffers, size_t count, bool sum, float scale) {
  reduce(buffers, num_buffers, count, sum, scale, [&](size_t begin, const float* tile, size_t n) {
    for (size_t b = 0; b < num_buffers; ++b) std::memcpy(buffers[b] + begin, tile, n * sizeof(float));
  });
}

void scale_in_place(float* data, size_t count, float scale) { multiply(data, count, scale); }

}  // namespace merak
