// tfjs's element-wise operations, one function for each kernel, by the names that generated chains call. W is float, or double where a
// chain holds integers: then results are those of tfjs, which computes in double.
#pragma once
#include "numbers.cuh"

// ECMAScript's ToInt32: truncation modulo 2^32; NaN and infinities give 0.
__device__ inline i32 to_int32(double x) {
  if (x > -9.2e18 && x < 9.2e18) return (i32)(u32)(i64)x;
  if (!(x - x == 0)) return 0;
  return (i32)(u32)(i64)fmod(x, 4294967296.0);
}

template <class W>
__device__ inline W read_number(const float* x, i64 i) { return (W)x[i]; }
template <class W>
__device__ inline W read_number(const bf16* x, i64 i) { return (W)to_float(x[i]); }
template <class W>
__device__ inline W read_number(const f16* x, i64 i) { return (W)to_float(x[i]); }
template <class W>
__device__ inline W read_number(const i32* x, i64 i) { return (W)x[i]; }
template <class W>
__device__ inline W read_number(const u8* x, i64 i) { return (W)x[i]; }
template <class W>
__device__ inline void write_number(float* y, i64 i, W x) { y[i] = (float)x; }
template <class W>
__device__ inline void write_number(bf16* y, i64 i, W x) { y[i] = Number<bf16>::from((float)x); }
template <class W>
__device__ inline void write_number(f16* y, i64 i, W x) { y[i] = Number<f16>::from((float)x); }
template <class W>
__device__ inline void write_number(i32* y, i64 i, W x) { y[i] = to_int32((double)x); }
template <class W>
__device__ inline void write_number(u8* y, i64 i, W x) { y[i] = (u8)to_int32((double)x); }

template <class W>
__device__ inline bool is_nan(W x) { return x != x; }
template <class W>
__device__ inline bool is_finite(W x) { return x - x == W(0); }
template <class W>
__device__ inline bool is_true(W x) { return x != W(0) && !is_nan(x); }

#define MERAK_UNARY(name, value)            \
  template <class W>                        \
  __device__ inline W op_##name(W x) {      \
    return value;                           \
  }
#define MERAK_BINARY(name, value)           \
  template <class W>                        \
  __device__ inline W op_##name(W a, W b) { \
    return value;                           \
  }

MERAK_UNARY(Abs, x < W(0) ? -x : x)
MERAK_UNARY(Acos, acos(x))
MERAK_UNARY(Acosh, acosh(x))
MERAK_UNARY(Asin, asin(x))
MERAK_UNARY(Asinh, asinh(x))
MERAK_UNARY(Atan, atan(x))
MERAK_UNARY(Atanh, atanh(x))
MERAK_UNARY(Ceil, ceil(x))
MERAK_UNARY(Cos, cos(x))
MERAK_UNARY(Cosh, cosh(x))
MERAK_UNARY(Elu, x >= W(0) ? x : expm1(x))
MERAK_UNARY(Erf, erf(x))
MERAK_UNARY(Exp, exp(x))
MERAK_UNARY(Expm1, expm1(x))
MERAK_UNARY(Floor, floor(x))
MERAK_UNARY(Identity, x)
MERAK_UNARY(IsFinite, is_finite(x) ? W(1) : W(0))
MERAK_UNARY(IsInf, !is_finite(x) && !is_nan(x) ? W(1) : W(0))
MERAK_UNARY(IsNan, is_nan(x) ? W(1) : W(0))
MERAK_UNARY(Log, log(x))
MERAK_UNARY(Log1p, log1p(x))
MERAK_UNARY(LogicalNot, is_true(x) ? W(0) : W(1))
MERAK_UNARY(Neg, -x)
MERAK_UNARY(NotZero, x != W(0) ? W(1) : W(0))
MERAK_UNARY(Reciprocal, W(1) / x)
MERAK_UNARY(Relu, x <= W(0) ? W(0) : x)
MERAK_UNARY(Relu6, x <= W(0) ? W(0) : x > W(6) ? W(6) : x)
MERAK_UNARY(Round, rint(x))
MERAK_UNARY(Rsqrt, W(1) / sqrt(x))
MERAK_UNARY(Selu, x >= W(0) ? W(1.0507009873554805) * x : W(1.7580993408473768) * expm1(x))
MERAK_UNARY(Sigmoid, W(1) / (W(1) + exp(-x)))
MERAK_UNARY(Sign, x < W(0) ? W(-1) : x > W(0) ? W(1) : W(0))
MERAK_UNARY(Sin, sin(x))
MERAK_UNARY(Sinh, sinh(x))
MERAK_UNARY(Softplus, is_nan(x) ? x : (x > W(0) ? x : W(0)) + log1p(exp(x < W(0) ? x : -x)))
MERAK_UNARY(Sqrt, sqrt(x))
MERAK_UNARY(Square, x * x)
MERAK_UNARY(Tan, tan(x))
MERAK_UNARY(Tanh, tanh(x))

template <class W>
__device__ inline W op_ClipByValue(W x, W low, W high) {
  return x > high ? high : x < low ? low : x;
}
template <class W>
__device__ inline W op_Step(W x, W alpha) {
  return is_nan(x) ? x : x > W(0) ? W(1) : alpha;
}
template <class W>
__device__ inline W op_LeakyRelu(W x, W alpha) {
  return x < W(0) ? alpha * x : x;
}
template <class W>
__device__ inline W op_Constant(W value) {
  return value;
}
template <class W>
__device__ inline W op_Select(W condition, W t, W e) {
  return condition == W(1) ? t : e;
}

// JavaScript's pow differs from C's: a NaN exponent, and an infinite one of base 1 or -1, give NaN.
template <class W>
__device__ inline W op_Pow(W a, W b) {
  if (is_nan(b) || (!is_finite(b) && (a == W(1) || a == W(-1)))) return (W)MERAK_NAN;
  return pow(a, b);
}
template <class W>
__device__ inline W op_Mod(W a, W b) {
  const W remainder = fmod(a, b);
  return (a < W(0) && b < W(0)) || (a >= W(0) && b >= W(0)) ? remainder : fmod(remainder + b, b);
}

MERAK_BINARY(Add, a + b)
MERAK_BINARY(Sub, a - b)
MERAK_BINARY(Multiply, a * b)
MERAK_BINARY(RealDiv, a / b)
MERAK_BINARY(FloorDiv, floor(a / b))
MERAK_BINARY(Maximum, a > b || is_nan(a) ? a : b)
MERAK_BINARY(Minimum, a < b || is_nan(a) ? a : b)
MERAK_BINARY(SquaredDifference, (a - b) * (a - b))
MERAK_BINARY(Prelu, a < W(0) ? a * b : a)
MERAK_BINARY(EluGrad, b >= W(0) ? a : a * (b + W(1)))
MERAK_BINARY(Atan2, atan2(a, b))
MERAK_BINARY(Equal, a == b ? W(1) : W(0))
MERAK_BINARY(NotEqual, a != b ? W(1) : W(0))
MERAK_BINARY(Greater, a > b ? W(1) : W(0))
MERAK_BINARY(GreaterEqual, a >= b ? W(1) : W(0))
MERAK_BINARY(Less, a < b ? W(1) : W(0))
MERAK_BINARY(LessEqual, a <= b ? W(1) : W(0))
MERAK_BINARY(LogicalAnd, is_true(a) && is_true(b) ? W(1) : W(0))
MERAK_BINARY(LogicalOr, is_true(a) || is_true(b) ? W(1) : W(0))
MERAK_BINARY(LogicalXor, is_true(a) != is_true(b) ? W(1) : W(0))
MERAK_BINARY(BitwiseAnd, (W)(to_int32((double)a) & to_int32((double)b)))

// How reductions join two values.
MERAK_BINARY(Sum, a + b)
MERAK_BINARY(Prod, a * b)
MERAK_BINARY(Max, b > a || is_nan(b) ? b : a)
MERAK_BINARY(Min, b < a || is_nan(b) ? b : a)
MERAK_BINARY(All, a != W(0) && b != W(0) ? W(1) : W(0))
MERAK_BINARY(Any, a != W(0) || b != W(0) ? W(1) : W(0))

#undef MERAK_UNARY
#undef MERAK_BINARY
