// What the attention kernels share: shapes, tiles of 16-bit rows in shared memory, their fragments for the tensor cores.
#pragma once
#include "intrinsics.cuh"

// Rows of q (k and v) are q_row (k_row) elements apart, those of out and dy out_row; a head's row has `depth` elements.
struct AttentionShape {
  int num_queries, num_keys, num_heads, depth;
  int q_row, k_row, out_row;
  int causal;  // query i sees keys up to i + num_keys - num_queries
  float scale;
  const int* mask;  // [batch, num_keys], 0 drops the key; or null
};

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

// Element (sequence, position 0, head) of a tensor whose rows are `row` apart.
__device__ inline i64 head_offset(const AttentionShape& shape, int sequence, int head, int length, int row) {
  return (i64)sequence * length * row + (i64)head * shape.depth;
}

// A row of kDepth elements and 16 bytes more, so that eight rows of a column of 16 bytes lie in different banks.
template <int kDepth>
struct Tile {
  static constexpr int kRow = kDepth + 8;
};

// Rows [first, first + kRows) of a head to shared memory, asynchronously; zeros past `limit` rows and past the head's depth.
template <int kRows, int kDepth, int kThreads, class T>
__device__ inline void load_tile(T* tile, const T* head, int first, int limit, int depth, int row) {
  constexpr int kPieces = kDepth / 8;
  static_assert(kRows * kPieces % kThreads == 0 || kRows * kPieces < kThreads);
#pragma unroll
  for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) {
    const int r = i / kPieces, c = i % kPieces * 8;
    const bool is_there = first + r < limit && c < depth;
    copy_async_16(tile + r * Tile<kDepth>::kRow + c, is_there ? head + (i64)(first + r) * row + c : head, is_there ? 16 : 0);
  }
}

// Rows [row, row + 16) and columns [column, column + 16) as left operand.
template <int kDepth, class T>
__device__ inline void left_fragment(u32 (&a)[4], const T* tile, int row, int column) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4(a, tile + (row + (lane & 15)) * Tile<kDepth>::kRow + column + (lane >> 4) * 8);
}
// The transpose of rows [row, row + 16), columns [column, column + 16) as right operand of two products: b[0..1] for the first eight
// rows, b[2..3] for the others.
template <int kDepth, class T>
__device__ inline void right_fragments_transposed(u32 (&b)[4], const T* tile, int row, int column) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4(b, tile + (row + (lane & 7) + (lane >> 4) * 8) * Tile<kDepth>::kRow + column + (lane >> 3 & 1) * 8);
}
// Rows [row, row + 16), columns [column, column + 16) themselves: b[0..1] for the first eight columns, b[2..3] for the others.
template <int kDepth, class T>
__device__ inline void right_fragments(u32 (&b)[4], const T* tile, int row, int column) {
  const int lane = threadIdx.x & 31;
  ldmatrix_x4_transposed(b, tile + (row + (lane & 15)) * Tile<kDepth>::kRow + column + (lane >> 4) * 8);
}

// Sums of two neighbouring products as left operand of the next one.
template <class T>
__device__ inline void as_left(u32 (&a)[4], const float (&low)[4], const float (&high)[4]) {
  a[0] = Number<T>::pack(low[0], low[1]);
  a[1] = Number<T>::pack(low[2], low[3]);
  a[2] = Number<T>::pack(high[0], high[1]);
  a[3] = Number<T>::pack(high[2], high[3]);
}

// Two neighbours of a row, rounded if their type asks for it.
__device__ inline void store2(float* to, float x, float y) { *(float2*)to = make_float2(x, y); }
template <class T>
__device__ inline void store2(T* to, float x, float y) {
  *(u32*)to = Number<T>::pack(x, y);
}
