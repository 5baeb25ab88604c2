// Creating oneDNN primitives under 2.x and 3.x.
#include "ops/cpu/dnnl.h"

namespace merak::onednn {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream mine(engine());
  return mine;
}

Shape row_major(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

#if DNNL_VERSION_MAJOR >= 3

void append_eltwise(dnnl::post_ops& ops, dnnl::algorithm algorithm, float alpha, float beta) {
  ops.append_eltwise(algorithm, alpha, beta);
}

dnnl::matmul::primitive_desc matmul(const MemoryDesc& a, const MemoryDesc& b, const MemoryDesc* bias,
                                    const MemoryDesc& c, const dnnl::primitive_attr& attr) {
  if (bias) return dnnl::matmul::primitive_desc(engine(), a, b, *bias, c, attr);
  return dnnl::matmul::primitive_desc(engine(), a, b, c, attr);
}

static dnnl::convolution_forward::primitive_desc forward_hint(const MemoryDesc& x, const MemoryDesc& filter,
                                                              const MemoryDesc& y, const ConvolutionShape& s) {
  return {engine(), dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, x, filter, y,
          s.strides, s.dilations, s.pad_before, s.pad_after, attributes()};
}

dnnl::convolution_forward::primitive_desc convolution(const MemoryDesc& x, const MemoryDesc& filter, const MemoryDesc& y,
                                                      const ConvolutionShape& s) {
  return forward_hint(x, filter, y, s);
}

dnnl::convolution_backward_data::primitive_desc convolution_input(const MemoryDesc& dx, const MemoryDesc& filter,
                                                                  const MemoryDesc& dy, const ConvolutionShape& s) {
  return {engine(), dnnl::algorithm::convolution_direct, dx, filter, dy, s.strides, s.dilations, s.pad_before,
          s.pad_after, forward_hint(dx, filter, dy, s), attributes()};
}

dnnl::convolution_backward_weights::primitive_desc convolution_filter(const MemoryDesc& x, const MemoryDesc& dfilter,
                                                                      const MemoryDesc& dy, const ConvolutionShape& s) {
  return {engine(), dnnl::algorithm::convolution_direct, x, dfilter, dy, s.strides, s.dilations, s.pad_before,
          s.pad_after, forward_hint(x, dfilter, dy, s), attributes()};
}

#else

void append_eltwise(dnnl::post_ops& ops, dnnl::algorithm algorithm, float alpha, float beta) {
  ops.append_eltwise(1.0f, algorithm, alpha, beta);
}

dnnl::matmul::primitive_desc matmul(const MemoryDesc& a, const MemoryDesc& b, const MemoryDesc* bias,
                                    const MemoryDesc& c, const dnnl::primitive_attr& attr) {
  const dnnl::matmul::desc desc = bias ? dnnl::matmul::desc(a, b, *bias, c) : dnnl::matmul::desc(a, b, c);
  return {desc, attr, engine()};
}

static dnnl::convolution_forward::primitive_desc forward_hint(const MemoryDesc& x, const MemoryDesc& filter,
                                                              const MemoryDesc& y, const ConvolutionShape& s) {
  const dnnl::convolution_forward::desc desc(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, x,
                                             filter, y, s.strides, s.dilations, s.pad_before, s.pad_after);
  return {desc, attributes(), engine()};
}

dnnl::convolution_forward::primitive_desc convolution(const MemoryDesc& x, const MemoryDesc& filter, const MemoryDesc& y,
                                                      const ConvolutionShape& s) {
  return forward_hint(x, filter, y, s);
}

dnnl::convolution_backward_data::primitive_desc convolution_input(const MemoryDesc& dx, const MemoryDesc& filter,
                                                                  const MemoryDesc& dy, const ConvolutionShape& s) {
  const dnnl::convolution_backward_data::desc desc(dnnl::algorithm::convolution_direct, dx, filter, dy, s.strides,
                                                   s.dilations, s.pad_before, s.pad_after);
  return {desc, attributes(), engine(), forward_hint(dx, filter, dy, s)};
}

dnnl::convolution_backward_weights::primitive_desc convolution_filter(const MemoryDesc& x, const MemoryDesc& dfilter,
                                                                      const MemoryDesc& dy, const ConvolutionShape& s) {
  const dnnl::convolution_backward_weights::desc desc(dnnl::algorithm::convolution_direct, x, dfilter, dy, s.strides,
                                                      s.dilations, s.pad_before, s.pad_after);
  return {desc, attributes(), engine(), forward_hint(x, dfilter, dy, s)};
}

#endif

}  // namespace merak::onednn
