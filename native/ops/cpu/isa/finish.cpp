// The way of a product's sums to memory.
#include "ops/cpu/isa/finish.h"

#include <cstdint>  // uint16_t

#include "ops/cpu/isa/gelu.inl"      // gelu and its slope
#include "ops/cpu/isa/rounding.inl"  // store, number

namespace merak::MERAK_ISA {
namespace {

constexpr size_t kPiece = 32;

// A piece of a row in an array of its own, which no pointer can alias: loops over all of it become a few vectors. Past n rubbish.
struct Piece {
  float x[kPiece];
};

template <class Number>
[[gnu::always_inline]] inline Piece load(const Number* from, size_t n) {
  Number raw[kPiece] = {};
  if (n == kPiece) __builtin_memcpy(raw, from, sizeof raw);
  else __builtin_memcpy(raw, from, n * sizeof(Number));
  Piece piece;
  for (size_t i = 0; i < kPiece; i++) piece.x[i] = number(raw[i]);
  return piece;
}
[[gnu::always_inline]] inline Piece load(const void* from, bool narrow, size_t at, size_t n) {
  return narrow ? load(static_cast<const uint16_t*>(from) + at, n) : load(static_cast<const float*>(from) + at, n);
}

// Returns what was stored.
[[gnu::always_inline]] inline Piece put(const Piece& piece, void* to, bool narrow, size_t at, size_t n) {
  if (!narrow) {
    if (n == kPiece) __builtin_memcpy(static_cast<float*>(to) + at, piece.x, sizeof piece.x);
    else __builtin_memcpy(static_cast<float*>(to) + at, piece.x, n * sizeof(float));
    return piece;
  }
  uint16_t raw[kPiece];
  for (size_t i = 0; i < kPiece; i++) store(piece.x[i], raw + i);
  if (n == kPiece) __builtin_memcpy(static_cast<uint16_t*>(to) + at, raw, sizeof raw);
  else __builtin_memcpy(static_cast<uint16_t*>(to) + at, raw, n * sizeof(uint16_t));
  Piece stored;
  for (size_t i = 0; i < kPiece; i++) stored.x[i] = number(raw[i]);
  return stored;
}

[[gnu::always_inline]] inline void add(Piece& piece, const Piece& other) {
  for (size_t i = 0; i < kPiece; i++) piece.x[i] += other.x[i];
}

[[gnu::always_inline]] inline void times_slope(Piece& piece, const Piece& point, bool tanh) {
  if (tanh)
    for (size_t i = 0; i < kPiece; i++) piece.x[i] *= gelu_tanh_slope(point.x[i]);
  else
    for (size_t i = 0; i < kPiece; i++) piece.x[i] *= gelu_erf_slope(point.x[i]);
}

[[gnu::always_inline]] inline Piece activated(const Piece& piece, bool tanh) {
  Piece y;
  if (tanh)
    for (size_t i = 0; i < kPiece; i++) y.x[i] = gelu_tanh_at(piece.x[i]);
  else
    for (size_t i = 0; i < kPiece; i++) y.x[i] = gelu_erf_at(piece.x[i]);
  return y;
}

// n columns from `column` on, n at most kPiece.
[[gnu::always_inline]] inline void finish_piece(const Finish& finish, const float* sums, size_t at, size_t column, size_t n) {
  Piece piece = load(sums, n);
  const bool tanh = finish.gelu == Finish::Gelu::tanh;
  if (finish.bias) add(piece, load(finish.bias + column, n));
  if (finish.residual) add(piece, load(finish.residual + at, n));
  if (finish.point) times_slope(piece, load(finish.point, finish.narrow_point, at, n), tanh);
  // Gelu of what was stored: its gradient takes the slope there.
  const Piece stored = put(piece, finish.out, finish.narrow_out, at, n);
  if (finish.activated) put(activated(stored, tanh), finish.activated, finish.narrow_activated, at, n);
}

}  // namespace

void finish_block(const Finish& finish, const float* sums, size_t ld, size_t row, size_t column, size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; r++) {
    const size_t at = (row + r) * finish.stride + column;
    size_t c = 0;
    for (; c + kPiece <= columns; c += kPiece) finish_piece(finish, sums + r * ld + c, at + c, column + c, kPiece);
    if (c < columns) finish_piece(finish, sums + r * ld + c, at + c, column + c, columns - c);
  }
}

}  // namespace merak::MERAK_ISA
