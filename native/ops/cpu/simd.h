// Vector math over spans for any kernel: the best build for this CPU, chosen at run time. x and y must not
// overlap. Accuracy: isa/math.inl. Code inside ops/cpu/isa/ includes isa/math.inl instead.
#pragma once
#include <cstddef>  // size_t

namespace merak {

void vexp(const float* x, float* y, size_t n);
void vexpm1(const float* x, float* y, size_t n);
void vlog(const float* x, float* y, size_t n);
void vlog1p(const float* x, float* y, size_t n);
void vtanh(const float* x, float* y, size_t n);
void vsigmoid(const float* x, float* y, size_t n);
void verf(const float* x, float* y, size_t n);
void vsqrt(const float* x, float* y, size_t n);
void vrsqrt(const float* x, float* y, size_t n);
void vsin(const float* x, float* y, size_t n);
void vcos(const float* x, float* y, size_t n);

}  // namespace merak
