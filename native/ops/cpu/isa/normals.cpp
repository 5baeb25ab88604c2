// Box-Muller, eight pairs at a time. Logarithm, sine and cosine are their Taylor series on reduced arguments, to about the last bit of
// a double, so that the floats are those that any good libm leads to.
#include "ops/cpu/isa/normals.h"

#include <bit>      // bit_cast
#include <cstdint>  // fixed-width integers

namespace merak::MERAK_ISA {
namespace {

constexpr int kPairs = 8;
typedef double Doubles __attribute__((vector_size(64)));
typedef uint64_t Bits __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(32)));
typedef uint32_t HalfBits __attribute__((vector_size(32)));

constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1;
constexpr uint64_t kOne = uint64_t{1023} << 52;
constexpr double kTwo52 = 0x1p52;

// Integers below 2^52: the mantissa of 2^52 + n is n.
[[gnu::always_inline]] inline Doubles from_integers(const Bits& n) {
  return std::bit_cast<Doubles>(n | std::bit_cast<uint64_t>(kTwo52)) - kTwo52;
}

// Coefficients from the highest power of x down to x^0.
template <int kCount>
[[gnu::always_inline]] inline Doubles polynomial(const Doubles& x, const double (&coefficients)[kCount]) {
  Doubles sum = Doubles{} + coefficients[0];
  for (int i = 1; i < kCount; i++) sum = sum * x + coefficients[i];
  return sum;
}

// ln x of a positive normal number: x = 2^e m with m within a factor of sqrt 2 of one, ln m = 2 artanh s with s = (m - 1) / (m + 1).
[[gnu::always_inline]] inline Doubles log(const Doubles& x) {
  static constexpr double kArtanh[] = {2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3};
  // ln 2 in two parts: the first has 32 bits, so that its multiples are exact.
  constexpr double kHigh = 0x1.62e42feep-1, kLow = 0x1.a39ef35793c76p-33;
  const Bits bits = std::bit_cast<Bits>(x);
  Doubles m = std::bit_cast<Doubles>((bits & kMantissa) | kOne);
  const auto halve = m > 0x1.6a09e667f3bcdp+0;  // sqrt 2
  m = halve ? m * 0.5 : m;
  const Doubles e = from_integers((bits >> 52) + 1) - 1024.0 + (halve ? Doubles{} + 1.0 : Doubles{});
  const Doubles f = m - 1.0, s = f / (m + 1.0), square = s * s;
  // 2 s = f - s f, which loses nothing to rounding 2 s itself.
  const Doubles rest = s * (square * polynomial(square, kArtanh) - f) + e * kLow;
  return e * kHigh + (f + rest);
}

struct Turned {
  Doubles cosine, sine;
};

// Of `word` / 2^24 turns, the angle rounded to a double first.
[[gnu::always_inline]] inline Turned turn(const Bits& word) {
  static constexpr double kSine[] = {1.0 / 355687428096000, -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6};
  static constexpr double kCosine[] = {1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24};
  constexpr double kTwoPi = 0x1.921fb54442d18p+2;
  // A quarter turn in two parts: small multiples of the first are exact.
  constexpr double kHigh = 0x1.921fb544p+0, kLow = 0x1.0b4611a626331p-34;
  const Doubles angle = kTwoPi * (from_integers(word) * 0x1p-24);
  const Bits quarters = (word + (1u << 21)) >> 22;
  const Doubles q = from_integers(quarters);
  const Doubles t = (angle - q * kHigh) - q * kLow, square = t * t;
  const Doubles sine = t + t * (square * polynomial(square, kSine));
  const Doubles half = 0.5 * square, most = 1.0 - half;
  // What rounding `most` has lost comes back with the smaller terms.
  const Doubles cosine = most + (((1.0 - most) - half) + square * square * polynomial(square, kCosine));
  const auto odd = (quarters & 1) != 0;
  const Bits cosine_sign = ((quarters + 1) & 2) << 62, sine_sign = (quarters & 2) << 62;
  return {std::bit_cast<Doubles>(std::bit_cast<Bits>(odd ? sine : cosine) ^ cosine_sign),
          std::bit_cast<Doubles>(std::bit_cast<Bits>(odd ? cosine : sine) ^ sine_sign)};
}

[[gnu::always_inline]] inline Doubles square_root(const Doubles& x) {
  Doubles y;
  for (int i = 0; i < kPairs; i++) y[i] = __builtin_sqrt(x[i]);
  return y;
}

// The bits of the scaled floats, each in the low half of its lane.
[[gnu::always_inline]] inline Bits scaled(const Doubles& normal, double mean, double stddev) {
  const Doubles rounded = __builtin_convertvector(__builtin_convertvector(normal, Floats), Doubles);
  const Floats result = __builtin_convertvector(mean + stddev * rounded, Floats);
  // The builtin: unoptimised, std::bit_cast is a function, which the linker would share between instruction sets that return these
  // vectors in different places.
  return __builtin_convertvector(__builtin_bit_cast(HalfBits, result), Bits);
}

// A lane holds a pair of words and becomes a pair of floats; the first of each is the low half.
[[gnu::always_inline]] inline Bits normals(const Bits& pairs, double mean, double stddev) {
  // The uniforms have 24 bits, the first moved up by half a step: its logarithm is finite.
  const Doubles uniform = from_integers((pairs & 0xffffffffu) >> 8) * 0x1p-24 + 0x1p-25;
  const Doubles radius = square_root(-2.0 * log(uniform));
  const Turned turned = turn(pairs >> 40);
  return scaled(radius * turned.cosine, mean, stddev) | scaled(radius * turned.sine, mean, stddev) << 32;
}

}  // namespace

void scaled_normals(const uint32_t* words, size_t num_pairs, double mean, double stddev, float* out) {
  static_assert(std::endian::native == std::endian::little);
  for (size_t done = 0; done < num_pairs; done += kPairs) {
    const size_t bytes = (num_pairs - done < kPairs ? num_pairs - done : kPairs) * sizeof(uint64_t);
    Bits pairs{};
    __builtin_memcpy(&pairs, words + 2 * done, bytes);
    pairs = normals(pairs, mean, stddev);
    __builtin_memcpy(out + 2 * done, &pairs, bytes);
  }
}

}  // namespace merak::MERAK_ISA
