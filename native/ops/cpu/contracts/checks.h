// What contracts are made of: short checks of a node's tensors that throw saying what does not fit.
#pragma once
#include "ops/cpu/make_kernel.h"  // require, input_index

namespace merak::contracts {

// Beyond any machine, and such that no product of a few sizes leaves int64.
constexpr double kMaxBytes = 1e15;

inline const TensorType& in(const NodeSpec& spec, const char* name) { return spec.inputs[input_index(spec, name)]; }
inline const TensorType& out(const NodeSpec& spec, size_t i = 0) { return spec.outputs[i]; }
inline void same_size(const TensorType& a, const TensorType& b) { require(a.numel() == b.numel(), "tensors differ in size that must not"); }
inline void same_type(const TensorType& a, const TensorType& b) {
  same_size(a, b);
  require(a.dtype == b.dtype, "tensors differ in dtype that must not");
}
inline void sized(const TensorType& type, int64_t numel) { require(type.numel() == numel, "a tensor has the wrong size"); }
inline void is(const TensorType& type, DType dtype) { require(type.dtype == dtype, "a tensor has the wrong dtype"); }
inline void is_float(const TensorType& type) { is(type, DType::f32); }
inline void is_any_float(const TensorType& type) { require(type.dtype == DType::f32 || is_half(type.dtype), "a tensor must be float"); }
// The result is as the first input.
inline void keeps_type(const NodeSpec& spec) { same_type(spec.inputs[0], out(spec)); }
inline void keeps_size(const NodeSpec& spec) { same_size(spec.inputs[0], out(spec)); }
inline void keeps_float(const NodeSpec& spec) {
  is_float(spec.inputs[0]);
  keeps_type(spec);
}
inline void all_float(const NodeSpec& spec) {
  for (const TensorType& type : spec.inputs) is_float(type);
  for (const TensorType& type : spec.outputs) is_float(type);
}
inline void same_dtype(const NodeSpec& spec) { require(spec.inputs[0].dtype == out(spec).dtype, "the result must have the input's dtype"); }

}  // namespace merak::contracts
