// Copying between two strided views of 1- or 4-byte elements: what every movement kernel comes down to.
#pragma once
#include "ops/cpu/strided_loop.h"

namespace merak {

class StridedCopy {
 public:
  // Element (i0, i1, ...) of `sizes` goes from source[source_offset + sum i * source_strides] to the same of the target. Offsets and
  // strides count elements; source strides may be 0 or negative.
  StridedCopy(const Shape& sizes, const Shape& source_strides, int64_t source_offset, const Shape& target_strides,
              int64_t target_offset, size_t element_bytes);
  void run(const void* source, void* target) const;

 private:
  template <class Element>
  void run_rows(const Element* source, Element* target) const;
  template <class Element>
  void run_transpose(const Element* source, Element* target) const;

  StridedLoop<2> loop_;
  int64_t source_offset_, target_offset_;
  size_t element_bytes_;
  // The last two merged dims are a transposed matrix: the source is contiguous in the other of the two.
  bool transposes_ = false;
};

}  // namespace merak
