// The copy loops of strided_copy.h.
#include "ops/cpu/strided_copy.h"

#include <cstring>  // memcpy

#include "ops/cpu/numeric.h"   // bytes_at
#include "ops/cpu/parallel.h"

namespace merak {
namespace {

// Dims of size > 1, the source's contiguous dim moved next to last, when that makes the innermost two a plain matrix transpose.
StridedLoop<2> order_dims(Shape sizes, Shape source, Shape target) {
  if (!sizes.empty()) {
    size_t last = sizes.size();
    while (last > 0 && sizes[last - 1] == 1) last--;
    for (size_t d = 0; last > 0 && d + 1 < last; d++) {
      if (sizes[d] == 1 || source[d] != 1 || source[last - 1] == 1 || target[last - 1] != 1) continue;
      const auto move = [&](Shape& list) {
        const int64_t value = list[d];
        list.erase(list.begin() + static_cast<int64_t>(d));
        list.insert(list.begin() + static_cast<int64_t>(last) - 2, value);
      };
      move(sizes);
      move(source);
      move(target);
      break;
    }
  }
  return StridedLoop<2>(sizes, {source, target});
}

template <class Element>
void copy_row(const Element* source, int64_t source_stride, Element* target, int64_t target_stride, int64_t n) {
  if (source_stride == 1 && target_stride == 1) {
    if (n >= 16) {
      std::memcpy(target, source, static_cast<size_t>(n) * sizeof(Element));
    } else {
      for (int64_t i = 0; i < n; i++) target[i] = source[i];
    }
  } else if (source_stride == 0 && target_stride == 1) {
    std::fill(target, target + n, *source);
  } else {
    for (int64_t i = 0; i < n; i++) target[i * target_stride] = source[i * source_stride];
  }
}

constexpr int64_t kTile = 16;

}  // namespace

StridedCopy::StridedCopy(const Shape& sizes, const Shape& source_strides, int64_t source_offset, const Shape& target_strides,
                         int64_t target_offset, size_t element_bytes)
    : loop_(order_dims(sizes, source_strides, target_strides)),
      source_offset_(source_offset),
      target_offset_(target_offset),
      element_bytes_(element_bytes) {
  transposes_ = !loop_.outer_sizes().empty() && loop_.outer_strides().back()[0] == 1 && loop_.row_stride[1] == 1 &&
                loop_.row_stride[0] != 1 && loop_.row_length >= 4 && loop_.outer_sizes().back() >= 4;
}

void StridedCopy::run(const void* source, void* target) const {
  const void* from = bytes_at(source, source_offset_ * static_cast<int64_t>(element_bytes_));
  void* to = bytes_at(target, target_offset_ * static_cast<int64_t>(element_bytes_));
  if (element_bytes_ == 4) {
    const auto *a = static_cast<const uint32_t*>(from);
    auto* b = static_cast<uint32_t*>(to);
    transposes_ ? run_transpose(a, b) : run_rows(a, b);
  } else {
    const auto *a = static_cast<const uint8_t*>(from);
    auto* b = static_cast<uint8_t*>(to);
    transposes_ ? run_transpose(a, b) : run_rows(a, b);
  }
}

template <class Element>
void StridedCopy::run_rows(const Element* source, Element* target) const {
  const int64_t n = loop_.row_length, from = loop_.row_stride[0], to = loop_.row_stride[1];
  if (loop_.num_rows == 1) {
    parallel_for(n, 4 * kParallelGrain, [&](int64_t begin, int64_t end) {
      copy_row(source + begin * from, from, target + begin * to, to, end - begin);
    });
    return;
  }
  parallel_for(loop_.num_rows, 2 * kParallelGrain / std::max<int64_t>(1, n), [&](int64_t begin, int64_t end) {
    loop_.for_rows(begin, end, [&](const StridedLoop<2>::Offsets& at) { copy_row(source + at[0], from, target + at[1], to, n); });
  });
}

// Rows come `kTile` at a time; within them the row is walked in tiles, so that both sides stay in cache lines already loaded.
template <class Element>
void StridedCopy::run_transpose(const Element* source, Element* target) const {
  const int64_t n = loop_.row_length, from = loop_.row_stride[0];
  const int64_t num_lines = loop_.outer_sizes().back(), line_stride = loop_.outer_strides().back()[1];
  const int64_t blocks = (num_lines + kTile - 1) / kTile, num_matrices = loop_.num_rows / std::max<int64_t>(1, num_lines);
  parallel_for(num_matrices * blocks, kParallelGrain / (kTile * std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      const int64_t matrix = block / blocks, first = (block % blocks) * kTile, count = std::min(kTile, num_lines - first);
      const Element* a = nullptr;
      Element* b = nullptr;
      loop_.for_rows(matrix * num_lines + first, matrix * num_lines + first + 1, [&](const StridedLoop<2>::Offsets& at) {
        a = source + at[0];
        b = target + at[1];
      });
      for (int64_t i = 0; i < n; i += kTile) {
        const int64_t width = std::min(kTile, n - i);
        if (count == kTile && width == kTile) {
          // Through a small buffer with constant bounds, which compilers unroll.
          Element tile[kTile][kTile];
          for (int64_t k = 0; k < kTile; k++)
            for (int64_t j = 0; j < kTile; j++) tile[k][j] = a[(i + k) * from + j];
          for (int64_t j = 0; j < kTile; j++)
            for (int64_t k = 0; k < kTile; k++) b[j * line_stride + i + k] = tile[k][j];
        } else {
          for (int64_t j = 0; j < count; j++)
            for (int64_t k = 0; k < width; k++) b[j * line_stride + i + k] = a[(i + k) * from + j];
        }
      }
    }
  });
}

}  // namespace merak
