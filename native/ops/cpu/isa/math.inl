// Branch-free float math that compilers vectorise when called in a plain loop. Included by ops/cpu/isa/*.cpp only, inside the
// namespace of the instruction set. Polynomials are minimax fits made for Merak (Lawson iteration on Chebyshev nodes); errors
// stated are against the exact value. No function raises or reads the floating-point environment.
#pragma once
#include <bit>      // std::bit_cast
#include <cstdint>  // int32_t

namespace merak::MERAK_ISA {

#if defined(__FMA__) || defined(__aarch64__)
[[gnu::always_inline]] static inline float fma_(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
[[gnu::always_inline]] static inline float fma_(float a, float b, float c) { return a * b + c; }
#endif

[[gnu::always_inline]] static inline int32_t bits_(float x) { return std::bit_cast<int32_t>(x); }
[[gnu::always_inline]] static inline float float_(int32_t x) { return std::bit_cast<float>(x); }
// a - b modulo 2^32: NaN and negative arguments, whose results are thrown away, may wrap.
[[gnu::always_inline]] static inline int32_t difference_(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}
[[gnu::always_inline]] static inline float abs_(float x) { return float_(bits_(x) & 0x7fffffff); }
[[gnu::always_inline]] static inline float copysign_(float magnitude, float sign) {
  return float_((bits_(magnitude) & 0x7fffffff) | (bits_(sign) & static_cast<int32_t>(0x80000000u)));
}
// 2^n for n in [-126, 127].
[[gnu::always_inline]] static inline float exp2i_(int32_t n) { return float_((n + 127) << 23); }

// Adding 1.5 * 2^23 rounds to the nearest integer (ties to even) and leaves it in the low bits; defined for NaN too.
constexpr float kRound = 12582912.0f;
constexpr float kLog2e = 1.44269504088896341f;
// ln 2 in two parts, the first with 9 significant bits so that n * kLn2High is exact.
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440054690583e-4f;
constexpr float kInfinity = __builtin_inff();
constexpr float kNaN = __builtin_nanf("");

// e^x: below 1 ulp; overflows to infinity, NaN stays NaN. Results below 2^-126 are 0: computing subnormals costs x86 a
// hundred cycles each, and masked attention is full of them.
[[gnu::always_inline]] static inline float exp_(float x) {
  float c = x > 89.0f ? 89.0f : x;
  c = c < -87.33f ? -87.33f : c;
  const float t = fma_(c, kLog2e, kRound);
  const int32_t n = difference_(bits_(t), bits_(kRound));
  const float nf = t - kRound;
  float r = fma_(nf, -kLn2High, c);
  r = fma_(nf, -kLn2Low, r);
  float q = fma_(r, 0.000199209564f, 0.00139483856f);
  q = fma_(q, r, 0.00833326019f);
  q = fma_(q, r, 0.0416662358f);
  q = fma_(q, r, 0.166666672f);
  q = fma_(q, r, 0.5f);
  const float p = 1.0f + fma_(q, r * r, r);
  // In two factors, because 2^128 is no float.
  const int32_t half = n >> 1;
  const float y = p * exp2i_(half) * exp2i_(n - half);
  return x < -87.33f ? 0.0f : y;
}

// e^x for |x| up to 87 (NaN stays NaN): exp_ without its ends.
[[gnu::always_inline]] static inline float exp_small_(float x) {
  const float t = fma_(x, kLog2e, kRound);
  const int32_t n = difference_(bits_(t), bits_(kRound));
  const float nf = t - kRound;
  float r = fma_(nf, -kLn2High, x);
  r = fma_(nf, -kLn2Low, r);
  float q = fma_(r, 0.000199209564f, 0.00139483856f);
  q = fma_(q, r, 0.00833326019f);
  q = fma_(q, r, 0.0416662358f);
  q = fma_(q, r, 0.166666672f);
  q = fma_(q, r, 0.5f);
  return (1.0f + fma_(q, r * r, r)) * exp2i_(n);
}

// e^x - 1 with full relative accuracy near 0: about 1.5 ulp.
[[gnu::always_inline]] static inline float expm1_(float x) {
  float c = x > 89.0f ? 89.0f : x;
  c = c < -40.0f ? -40.0f : c;
  const float t = fma_(c, kLog2e, kRound);
  const int32_t n = difference_(bits_(t), bits_(kRound));
  const float nf = t - kRound;
  float r = fma_(nf, -kLn2High, c);
  r = fma_(nf, -kLn2Low, r);
  float q = fma_(r, 0.000199165195f, 0.0013943119f);
  q = fma_(q, r, 0.00833326951f);
  q = fma_(q, r, 0.0416663289f);
  q = fma_(q, r, 0.166666672f);
  q = fma_(q, r, 0.5f);
  const float p = fma_(q, r * r, r);
  const float half = exp2i_(n - 1);
  return 2.0f * fma_(half, p, half - 0.5f);
}

// Natural logarithm of a positive finite number, low-order part `extra` added at the end.
[[gnu::always_inline]] static inline float log_core_(float x, float extra) {
  const bool tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 8388608.0f : x;
  // Mantissa into [sqrt(1/2), sqrt(2)).
  const int32_t shifted = difference_(bits_(scaled), 0x3f3504f3);
  const float e = static_cast<float>((shifted >> 23) - (tiny ? 23 : 0));
  const float f = float_((shifted & 0x7fffff) + 0x3f3504f3) - 1.0f;
  float p = fma_(f, 0.0691536814f, -0.117898077f);
  p = fma_(p, f, 0.118729763f);
  p = fma_(p, f, -0.123843484f);
  p = fma_(p, f, 0.142186582f);
  p = fma_(p, f, -0.16669251f);
  p = fma_(p, f, 0.200022265f);
  p = fma_(p, f, -0.249999866f);
  p = fma_(p, f, 0.333333105f);
  const float f2 = f * f;
  float tail = fma_(p * f, f2, fma_(e, kLn2Low, extra));
  tail = fma_(-0.5f, f2, tail);
  return fma_(e, kLn2High, f + tail);
}

// ln x: below 1 ulp; 0 gives -infinity, negatives NaN.
[[gnu::always_inline]] static inline float log_(float x) {
  float y = log_core_(x, 0.0f);
  y = x == kInfinity ? x : y;
  y = x == 0.0f ? -kInfinity : y;
  return x >= 0.0f ? y : kNaN;
}

// ln(1 + x) with full relative accuracy near 0: about 1.5 ulp.
[[gnu::always_inline]] static inline float log1p_(float x) {
  const float u = 1.0f + x;
  const bool ordinary = u > 0.0f && u < kInfinity;
  // What rounding u lost, to first order in log(u).
  const float lost = u >= 2.0f ? 1.0f - (u - x) : x - (u - 1.0f);
  float y = log_core_(ordinary ? u : 1.0f, ordinary ? lost / u : 0.0f);
  y = u == kInfinity ? u : y;
  y = u == 0.0f ? -kInfinity : y;
  y = u >= 0.0f ? y : kNaN;
  return abs_(x) < 1e-8f ? x : y;
}

// tanh x: about 2 ulp.
[[gnu::always_inline]] static inline float tanh_(float x) {
  float a = abs_(x);
  a = a > 10.0f ? 10.0f : a;
  const float t = expm1_(2.0f * a);
  const float y = copysign_(t / (t + 2.0f), x);
  return x == x ? y : x;
}

// 1 / (1 + e^-x): about 2 ulp.
[[gnu::always_inline]] static inline float sigmoid_(float x) { return 1.0f / (1.0f + exp_(-x)); }

// Error function: about 1.5 ulp.
[[gnu::always_inline]] static inline float erf_(float x) {
  float a = abs_(x);
  a = a > 4.0f ? 4.0f : a;
  const float s = x * x;
  float small = fma_(s, 8.29661003e-05f, -0.000812580634f);
  small = fma_(small, s, 0.00519960001f);
  small = fma_(small, s, -0.0268588513f);
  small = fma_(small, s, 0.11283686f);
  small = fma_(small, s, -0.376126319f);
  small = fma_(small, s, 0.128379166f);
  small = fma_(small, x, x);
  // ln erfc(a) on [0.9375, 4]; erf(4) rounds to 1.
  float large = fma_(a, -2.13627063e-05f, 0.000437551294f);
  large = fma_(large, a, -0.00418600393f);
  large = fma_(large, a, 0.0251587164f);
  large = fma_(large, a, -0.108340777f);
  large = fma_(large, a, -0.633291781f);
  large = fma_(large, a, -1.12954223f);
  large = fma_(large, a, 0.000180349583f);
  large = copysign_(1.0f - exp_(large), x);
  const float y = a < 0.9375f ? small : large;
  return x == x ? y : x;
}

// sin and cos for |x| <= 8192: absolute error below 1.2e-7.
constexpr float kSinCosLimit = 8192.0f;
[[gnu::always_inline]] static inline float sin_quadrant_(float x, int32_t shift) {
  const float t = fma_(x, 0.636619772367581343f, kRound);
  const int32_t quadrant = difference_(bits_(t), bits_(kRound)) + shift;
  const float nf = t - kRound;
  // pi/2 in three parts; the first two times nf are exact.
  float r = fma_(nf, -1.5703125f, x);
  r = fma_(nf, -4.837512969970703125e-4f, r);
  r = fma_(nf, -7.54978995489188216e-8f, r);
  const float s = r * r;
  float sine = fma_(s, 2.71756812e-06f, -0.000198392576f);
  sine = fma_(sine, s, 0.00833332911f);
  sine = fma_(sine, s, -0.166666672f);
  sine = fma_(sine * s, r, r);
  float cosine = fma_(s, -2.7203339e-07f, 2.47994376e-05f);
  cosine = fma_(cosine, s, -0.00138888834f);
  cosine = fma_(cosine, s, 0.0416666679f);
  cosine = fma_(cosine * s, s, fma_(s, -0.5f, 1.0f));
  const float y = (quadrant & 1) ? cosine : sine;
  return float_(bits_(y) ^ ((quadrant & 2) << 30));
}
[[gnu::always_inline]] static inline float sin_(float x) { return sin_quadrant_(x, 0); }
[[gnu::always_inline]] static inline float cos_(float x) { return sin_quadrant_(x, 1); }

}  // namespace merak::MERAK_ISA
