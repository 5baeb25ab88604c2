// oneDNN behind one face for its 2.x (descriptor objects) and 3.x (direct) interfaces.
#pragma once
#include <dnnl.hpp>  // oneDNN

#include "engine/kernel.h"  // Shape

namespace merak::onednn {

#if DNNL_VERSION_MAJOR >= 3
constexpr bool kVersion3 = true;
#else
constexpr bool kVersion3 = false;
#endif

using Memory = dnnl::memory;
using MemoryDesc = dnnl::memory::desc;

// The CPU engine of this process, and the calling thread's stream on it.
const dnnl::engine& engine();
dnnl::stream& stream();

// A dense float32 tensor with the given strides (elements).
inline MemoryDesc strided(const Shape& shape, const Shape& strides) {
  return MemoryDesc(shape, Memory::data_type::f32, strides);
}
// Row-major strides of a shape.
Shape row_major(const Shape& shape);
inline MemoryDesc plain(const Shape& shape) { return strided(shape, row_major(shape)); }
// Whatever layout oneDNN likes best.
inline MemoryDesc any(const Shape& shape) {
  return MemoryDesc(shape, Memory::data_type::f32, Memory::format_tag::any);
}

// Attributes with user-managed scratchpad, so that a run allocates nothing.
dnnl::primitive_attr attributes();
void append_eltwise(dnnl::post_ops& ops, dnnl::algorithm algorithm, float alpha, float beta);

dnnl::matmul::primitive_desc matmul(const MemoryDesc& a, const MemoryDesc& b, const MemoryDesc* bias,
                                    const MemoryDesc& c, const dnnl::primitive_attr& attr);

struct ConvolutionShape {
  Shape strides, dilations, pad_before, pad_after;  // per spatial dim; oneDNN's dilations (0 is dense)
};
dnnl::convolution_forward::primitive_desc convolution(const MemoryDesc& x, const MemoryDesc& filter, const MemoryDesc& y,
                                                      const ConvolutionShape& shape);
dnnl::convolution_backward_data::primitive_desc convolution_input(const MemoryDesc& dx, const MemoryDesc& filter,
                                                                  const MemoryDesc& dy, const ConvolutionShape& shape);
dnnl::convolution_backward_weights::primitive_desc convolution_filter(const MemoryDesc& x, const MemoryDesc& dfilter,
                                                                      const MemoryDesc& dy, const ConvolutionShape& shape);

}  // namespace merak::onednn
