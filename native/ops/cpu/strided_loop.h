// An n-dimensional loop over several operands with strides, its dims merged as far as the strides allow.
#pragma once
#include <array>    // per-operand values
#include <cstdint>  // int64_t

#include "ops/cpu/shape.h"  // Shape

namespace merak {

// The innermost dim is left to the caller as a row of `row_length` elements with `row_stride[k]` per operand.
template <size_t kOperands>
class StridedLoop {
 public:
  using Offsets = std::array<int64_t, kOperands>;

  StridedLoop(const Shape& sizes, const std::array<Shape, kOperands>& strides) {
    for (size_t d = 0; d < sizes.size(); d++) {
      if (sizes[d] == 1) continue;
      Offsets stride;
      for (size_t k = 0; k < kOperands; k++) stride[k] = strides[k][d];
      bool merges = !sizes_.empty();
      for (size_t k = 0; merges && k < kOperands; k++) merges = strides_.back()[k] == stride[k] * sizes[d];
      if (merges) {
        sizes_.back() *= sizes[d];
        strides_.back() = stride;
      } else {
        sizes_.push_back(sizes[d]);
        strides_.push_back(stride);
      }
    }
    if (sizes_.empty()) {
      sizes_.push_back(1);
      strides_.push_back(Offsets{});
    }
    row_length = sizes_.back();
    row_stride = strides_.back();
    sizes_.pop_back();
    strides_.pop_back();
    num_rows = product(sizes_, 0, sizes_.size());
  }

  // Calls row(offsets) for rows [begin, end) in row-major order, with each operand's offset of the row's first element.
  template <class Row>
  void for_rows(int64_t begin, int64_t end, const Row& row) const {
    if (begin >= end) return;
    std::vector<int64_t> index(sizes_.size());
    Offsets offsets{};
    int64_t rest = begin;
    for (size_t d = sizes_.size(); d-- > 0;) {
      index[d] = rest % sizes_[d];
      rest /= sizes_[d];
      for (size_t k = 0; k < kOperands; k++) offsets[k] += index[d] * strides_[d][k];
    }
    for (int64_t i = begin;;) {
      row(offsets);
      if (++i == end) return;
      for (size_t d = sizes_.size(); d-- > 0;) {
        for (size_t k = 0; k < kOperands; k++) offsets[k] += strides_[d][k];
        if (++index[d] < sizes_[d]) break;
        for (size_t k = 0; k < kOperands; k++) offsets[k] -= sizes_[d] * strides_[d][k];
        index[d] = 0;
      }
    }
  }

  int64_t num_rows = 0;
  int64_t row_length = 0;
  Offsets row_stride{};
  const Shape& outer_sizes() const { return sizes_; }
  const std::vector<Offsets>& outer_strides() const { return strides_; }

 private:
  Shape sizes_;
  std::vector<Offsets> strides_;
};

}  // namespace merak
