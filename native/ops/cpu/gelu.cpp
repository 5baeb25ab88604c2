// MerakGelu and MerakGeluGrad.
#include "ops/cpu/isa/bf16.h"     // from_bf16
#include "ops/cpu/isa/fused.h"    // the loops
#include "ops/cpu/make_kernel.h"  // make_kernel
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

bool is_tanh(const NodeSpec& spec) {
  const std::string approximate = spec.attrs.text("approximate", "");
  require(approximate == "tanh" || approximate == "none", "approximate must be 'tanh' or 'none'");
  return approximate == "tanh";
}

bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

constexpr int64_t kPiece = 2048;

// Elements [begin, end) of a tensor of either type, as float32: where they lie, or widened into `buffer`.
const float* widened(const void* data, bool narrow, int64_t begin, int64_t end, float* buffer) {
  if (!narrow) return static_cast<const float*>(data) + begin;
  MERAK_PICK(from_bf16)(static_cast<const uint16_t*>(data) + begin, buffer, static_cast<size_t>(end - begin));
  return buffer;
}

// Calls body(begin, end) in pieces that fit a buffer on the stack.
template <class Body>
void in_pieces(int64_t n, const Body& body) {
  parallel_for(n, kParallelGrain / 2, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kPiece) body(at, std::min(end, at + kPiece));
  });
}

std::unique_ptr<Kernel> make_gelu(const NodeSpec& spec) {
  require(is_float(spec.inputs[0].dtype) && is_float(spec.outputs[0].dtype), "x and y must be float");
  const auto wide = is_tanh(spec) ? MERAK_PICK(gelu_tanh) : MERAK_PICK(gelu_erf);
  const auto rounding = is_tanh(spec) ? MERAK_PICK(gelu_tanh_bf16) : MERAK_PICK(gelu_erf_bf16);
  const int64_t n = spec.inputs[0].numel();
  const bool narrow_x = spec.inputs[0].dtype == DType::bf16, narrow_y = spec.outputs[0].dtype == DType::bf16;
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    in_pieces(n, [&](int64_t begin, int64_t end) {
      float buffer[kPiece];
      const float* x = widened(inputs[0], narrow_x, begin, end, buffer);
      const auto count = static_cast<size_t>(end - begin);
      if (narrow_y) rounding(x, static_cast<uint16_t*>(outputs[0]) + begin, count);
      else wide(x, static_cast<float*>(outputs[0]) + begin, count);
    });
  });
}

std::unique_ptr<Kernel> make_gelu_grad(const NodeSpec& spec) {
  const size_t idy = input_index(spec, "dy"), ix = input_index(spec, "x");
  require(is_float(spec.inputs[ix].dtype) && is_float(spec.inputs[idy].dtype), "dy and x must be float");
  const auto wide = is_tanh(spec) ? MERAK_PICK(gelu_tanh_grad) : MERAK_PICK(gelu_erf_grad);
  const auto rounding = is_tanh(spec) ? MERAK_PICK(gelu_tanh_grad_bf16) : MERAK_PICK(gelu_erf_grad_bf16);
  const int64_t n = spec.inputs[ix].numel();
  const bool narrow_dy = spec.inputs[idy].dtype == DType::bf16, narrow_x = spec.inputs[ix].dtype == DType::bf16;
  const bool narrow_dx = spec.outputs[0].dtype == DType::bf16;
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    in_pieces(n, [&](int64_t begin, int64_t end) {
      float slopes[kPiece], points[kPiece];
      const float* dy = widened(inputs[idy], narrow_dy, begin, end, slopes);
      const float* x = widened(inputs[ix], narrow_x, begin, end, points);
      const auto count = static_cast<size_t>(end - begin);
      if (narrow_dx) rounding(dy, x, static_cast<uint16_t*>(outputs[0]) + begin, count);
      else wide(dy, x, static_cast<float*>(outputs[0]) + begin, count);
    });
  });
}

}  // namespace

void register_gelu_kernels() {
  register_kernel("MerakGelu", make_gelu);
  register_kernel("MerakGeluGrad", make_gelu_grad);
}

}  // namespace merak
