// The way of a product's sums to memory.
#include "ops/cpu/isa/finish.h"

#include <cstdint>  // uint16_t

#include "ops/cpu/isa/gelu.inl"      // gelu and its slope
#include "ops/cpu/isa/lanes.inl"     // sixteen at a time
#include "ops/cpu/isa/rounding.inl"  // store, number

#define restrict __restrict__

namespace merak::MERAK_ISA {
namespace {

constexpr size_t kSide = 32;

// Up to 32 rows and columns, rows side by side, in an array of its own: loops over it keep their constants in registers.
struct Block {
  alignas(64) float x[kSide * kSide];
};

// Where a block lies in the matrices.
struct Place {
  size_t at, stride, rows, columns;
  size_t count() const { return rows * kSide; }
};

template <class Number>
[[gnu::always_inline]] inline void read(Block& block, const Number* from, const Place& place) {
  for (size_t r = 0; r < place.rows; r++) {
    const Number* restrict row = from + place.at + r * place.stride;
    float* restrict x = block.x + r * kSide;
    if (place.columns == kSide)
      for (size_t c = 0; c < kSide; c += kLanes) store_lanes(load_lanes(row + c), x + c);
    else
      for (size_t c = 0; c < kSide; c++) x[c] = c < place.columns ? number(row[c]) : 0.0f;
  }
}
void read(Block& block, const void* from, bool narrow, const Place& place) {
  if (narrow) read(block, static_cast<const uint16_t*>(from), place);
  else read(block, static_cast<const float*>(from), place);
}

template <class Number>
[[gnu::always_inline]] inline void write(const Block& block, Number* to, const Place& place) {
  for (size_t r = 0; r < place.rows; r++) {
    Number* restrict row = to + place.at + r * place.stride;
    const float* restrict x = block.x + r * kSide;
    if (place.columns == kSide)
      for (size_t c = 0; c < kSide; c += kLanes) store_lanes(load_lanes(x + c), row + c);
    else
      for (size_t c = 0; c < place.columns; c++) store(x[c], row + c);
  }
}
void write(const Block& block, void* to, bool narrow, const Place& place) {
  if (narrow) write(block, static_cast<uint16_t*>(to), place);
  else write(block, static_cast<float*>(to), place);
}

void times_slope(Block& block, const Block& point, bool tanh, size_t count) {
  if (tanh)
    for (size_t i = 0; i < count; i++) block.x[i] *= gelu_tanh_slope(point.x[i]);
  else
    for (size_t i = 0; i < count; i++) block.x[i] *= gelu_erf_slope(point.x[i]);
}

void activate(Block& block, bool tanh, size_t count) {
  if (tanh)
    for (size_t i = 0; i < count; i++) block.x[i] = gelu_tanh_at(block.x[i]);
  else
    for (size_t i = 0; i < count; i++) block.x[i] = gelu_erf_at(block.x[i]);
}

// The first of the steps: sums, bias and residual in one go.
void begin(const Finish& finish, const float* sums, size_t ld, size_t column, const Place& place, Block& block) {
  for (size_t r = 0; r < place.rows; r++) {
    const float* row = sums + r * ld;
    const float* bias = finish.bias ? finish.bias + column : nullptr;
    const float* more = finish.residual ? finish.residual + place.at + r * place.stride : nullptr;
    float* x = block.x + r * kSide;
    if (place.columns == kSide) {
      for (size_t c = 0; c < kSide; c += kLanes) {
        Lanes lanes = load_lanes(row + c);
        if (bias) lanes += load_lanes(bias + c);
        if (more) lanes += load_lanes(more + c);
        store_lanes(lanes, x + c);
      }
      continue;
    }
    for (size_t c = 0; c < kSide; c++)
      x[c] = c < place.columns ? row[c] + (bias ? bias[c] : 0.0f) + (more ? more[c] : 0.0f) : 0.0f;
  }
}

void finish_square(const Finish& finish, const float* sums, size_t ld, size_t column, const Place& place) {
  Block block, other;
  begin(finish, sums, ld, column, place, block);
  const bool tanh = finish.gelu == Finish::Gelu::tanh;
  if (finish.point) {
    read(other, finish.point, finish.narrow_point, place);
    times_slope(block, other, tanh, place.count());
  }
  write(block, finish.out, finish.narrow_out, place);
  if (!finish.activated) return;
  // Gelu of what was stored: its gradient takes the slope there.
  if (finish.narrow_out) read(block, finish.out, true, place);
  activate(block, tanh, place.count());
  write(block, finish.activated, finish.narrow_activated, place);
}

}  // namespace

void finish_block(const Finish& finish, const float* sums, size_t ld, size_t row, size_t column, size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; r += kSide)
    for (size_t c = 0; c < columns; c += kSide) {
      const size_t height = rows - r < kSide ? rows - r : kSide, width = columns - c < kSide ? columns - c : kSide;
      const Place place{(row + r) * finish.stride + column + c, finish.stride, height, width};
      finish_square(finish, sums + r * ld + c, ld, column + c, place);
    }
}

}  // namespace merak::MERAK_ISA
