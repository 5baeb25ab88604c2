// The tensor cores' warp-wide instructions and asynchronous copies, by the layouts of the PTX manual.
#pragma once
#include <cmath>  // ldexp

#include "warp.h"

namespace merak_emulation {

inline float from_bf16_bits(unsigned bits) {
  const unsigned word = bits << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

inline float from_f16_bits(unsigned bits) {
  const int exponent = bits >> 10 & 31;
  const float sign = bits & 0x8000 ? -1.0f : 1.0f, fraction = static_cast<float>(bits & 1023);
  if (exponent == 31) return bits & 1023 ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

// Round to nearest even.
inline unsigned to_bf16_bits(float value) {
  unsigned word;
  std::memcpy(&word, &value, 4);
  if (value != value) return 0x7fff;
  return (word + 0x7fff + (word >> 16 & 1)) >> 16;
}

inline unsigned to_f16_bits(float value) {
  const unsigned sign = std::signbit(value) ? 0x8000 : 0;
  if (value != value) return 0x7fff;
  const float size = std::fabs(value);
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size == 0.0f) return sign;
  int exponent;
  std::frexp(size, &exponent);
  exponent = exponent < -13 ? -13 : exponent;  // size = fraction 2^exponent
  const auto units = static_cast<unsigned>(std::nearbyint(std::ldexp(size, 11 - exponent)));
  // 1024 to 2047 units are a normal number's; fewer, at the least exponent, a subnormal one's. A carry runs into the exponent.
  return sign | (units + (static_cast<unsigned>(exponent + 13) << 10));
}

// d += a b for a 16 x 16 tile of a and a 16 x 8 tile of b, two elements a register.
inline void mma_16816(float* d, const unsigned* a, const unsigned* b, float (*number)(unsigned)) {
  const Slots slots;
  struct Part {
    unsigned a[4], b[2];
    float d[4];
  };
  static_assert(sizeof(Part) <= 64);
  Part& own = slots.at<Part>(current->lane);
  std::memcpy(own.a, a, sizeof own.a);
  std::memcpy(own.b, b, sizeof own.b);
  std::memcpy(own.d, d, sizeof own.d);
  meet([&] {
    float left[16][16], right[16][8];
    for (unsigned lane = 0; lane < 32; lane++) {
      const Part& part = slots.at<Part>(lane);
      const unsigned group = lane / 4, pair = lane % 4 * 2;
      for (unsigned half = 0; half < 2; half++) {
        for (unsigned r = 0; r < 4; r++)
          left[group + (r & 1) * 8][pair + half + (r >> 1) * 8] = number(part.a[r] >> (16 * half) & 0xffff);
        for (unsigned r = 0; r < 2; r++) right[pair + half + r * 8][group] = number(part.b[r] >> (16 * half) & 0xffff);
      }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
      Part& part = slots.at<Part>(lane);
      for (unsigned r = 0; r < 4; r++) {
        const unsigned row = lane / 4 + (r >> 1) * 8, column = lane % 4 * 2 + (r & 1);
        float sum = part.d[r];
        for (unsigned k = 0; k < 16; k++) sum += left[row][k] * right[k][column];
        part.d[r] = sum;
      }
    }
  });
  std::memcpy(d, own.d, sizeof own.d);
}

// Four 8 x 8 matrices of 16-bit elements; lane 8 m + r holds the address of row r of matrix m.
inline void ldmatrix_x4(unsigned* registers, const void* row, bool transposed) {
  const Slots slots;
  struct Part {
    const void* row;
    unsigned registers[4];
  };
  Part& own = slots.at<Part>(current->lane);
  own.row = row;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("ldmatrix reads a row that is not aligned to 16 bytes");
  meet([&] {
    for (unsigned lane = 0; lane < 32; lane++)
      for (unsigned m = 0; m < 4; m++) {
        const auto element = [&](unsigned r, unsigned c) {
          unsigned short bits;
          std::memcpy(&bits, static_cast<const unsigned char*>(slots.at<Part>(8 * m + r).row) + 2 * c, 2);
          return static_cast<unsigned>(bits);
        };
        const unsigned major = lane / 4, minor = lane % 4 * 2;
        slots.at<Part>(lane).registers[m] = transposed ? element(minor, major) | element(minor + 1, major) << 16
                                                       : element(major, minor) | element(major, minor + 1) << 16;
      }
  });
  std::memcpy(registers, own.registers, sizeof own.registers);
}

inline void start_copy(void* to, const void* from, int bytes) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || (bytes && reinterpret_cast<uintptr_t>(from) % 16 != 0))
    fail("an asynchronous copy is not aligned to 16 bytes");
  current->copies.push_back({to, from, bytes});
}
inline void commit_copies() { current->groups.push_back(current->copies.size()); }
// Until at most `num_pending` groups are under way.
inline void await_copies(size_t num_pending) {
  auto& groups = current->groups;
  auto& copies = current->copies;
  if (groups.size() <= num_pending) return;
  const size_t count = groups[groups.size() - 1 - num_pending];
  for (size_t i = 0; i < count; i++) {
    unsigned char bytes[16] = {};
    std::memcpy(bytes, copies[i].from, static_cast<size_t>(copies[i].bytes));
    std::memcpy(copies[i].to, bytes, 16);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<long>(count));
  groups.erase(groups.begin(), groups.end() - static_cast<long>(num_pending));
  for (size_t& end : groups) end -= count;
}

}  // namespace merak_emulation
