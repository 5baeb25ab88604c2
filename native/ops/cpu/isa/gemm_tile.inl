// A register-tiled product for the small matrices inside attention: C[M,N] = A B or C += A B, where B's rows are contiguous and A
// may have any strides (so that a transposed A costs nothing). Included inside ops/cpu/isa/ only.
#pragma once
#include <cstddef>  // size_t

namespace merak::MERAK_ISA {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
typedef float Vector __attribute__((vector_size(kWidth * 4), aligned(4)));

// Rows x (Columns * kWidth) of C in registers over all of K.
template <int Rows, int Columns>
static inline void gemm_tile(int k, const float* a, size_t row_stride, size_t depth_stride, const float* b, size_t ldb, float* c,
                             size_t ldc, bool accumulate) {
  Vector sum[Rows][Columns];
  for (int r = 0; r < Rows; r++)
    for (int j = 0; j < Columns; j++) sum[r][j] = accumulate ? *reinterpret_cast<const Vector*>(c + r * ldc + j * kWidth) : Vector{};
  for (int p = 0; p < k; p++) {
    Vector row[Columns];
    for (int j = 0; j < Columns; j++) row[j] = *reinterpret_cast<const Vector*>(b + p * ldb + j * kWidth);
    for (int r = 0; r < Rows; r++) {
      const float x = a[r * row_stride + p * depth_stride];
      for (int j = 0; j < Columns; j++) sum[r][j] += x * row[j];
    }
  }
  for (int r = 0; r < Rows; r++)
    for (int j = 0; j < Columns; j++) *reinterpret_cast<Vector*>(c + r * ldc + j * kWidth) = sum[r][j];
}

// Rows of a group at most.
constexpr int kMostRows = kWidth == 16 ? 12 : 6;

// A group of up to Rows rows of a strip of columns, which begins at column `j` of the product.
template <int Rows, int Columns, class Band>
static inline void gemm_group(int rows, int r, int j, const Band& band, const float* a, size_t row_stride, size_t depth_stride, const float* b,
                              size_t ldb, float* c, size_t ldc, bool accumulate) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return gemm_group<Rows - 1, Columns>(rows, r, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
  }
  const int from = band.depth_from(r), to = band.depth_to(r + Rows - 1);
  gemm_tile<Rows, Columns>(to - from, a + r * row_stride + from * depth_stride, row_stride, depth_stride, b + from * ldb + j, ldb,
                           c + r * ldc + j, ldc, accumulate);
}

// A strip of columns for all rows, in groups of `Rows`.
template <int Rows, int Columns, class Band>
static inline void gemm_strip(int m, int j, const Band& band, const float* a, size_t row_stride, size_t depth_stride, const float* b, size_t ldb,
                              float* c, size_t ldc, bool accumulate) {
  for (int r = 0; r < m; r += Rows) {
    const int rows = m - r < Rows ? m - r : Rows;
    if (j < band.columns(r + rows - 1))
      gemm_group<Rows, Columns>(rows, r, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
  }
}

// Of m x n elements only the band need be right: in a group of rows those before `columns` of its last, sums over the depth from
// `depth_from` its first to `depth_to` its last. Outside it, A (where the depth is cut) and what is wanted of C are zeros.
template <class Band>
static inline void gemm(int m, int n, const Band& band, const float* a, size_t row_stride, size_t depth_stride, const float* b, size_t ldb,
                        float* c, size_t ldc, bool accumulate) {
  int j = 0;
#if defined(__AVX512F__)
  for (; j + 4 * kWidth <= n; j += 4 * kWidth) gemm_strip<6, 4>(m, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
  for (; j + 2 * kWidth <= n; j += 2 * kWidth) gemm_strip<12, 2>(m, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
  for (; j + kWidth <= n; j += kWidth) gemm_strip<12, 1>(m, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
#else
  for (; j + 2 * kWidth <= n; j += 2 * kWidth) gemm_strip<6, 2>(m, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
  for (; j + kWidth <= n; j += kWidth) gemm_strip<6, 1>(m, j, band, a, row_stride, depth_stride, b, ldb, c, ldc, accumulate);
#endif
  for (; j < n; j++)
    for (int r = 0; r < m; r++) {
      if (j >= band.columns(r)) continue;
      float sum = accumulate ? c[r * ldc + j] : 0.0f;
      for (int p = band.depth_from(r); p < band.depth_to(r); p++) sum += a[r * row_stride + p * depth_stride] * b[p * ldb + j];
      c[r * ldc + j] = sum;
    }
}

}  // namespace merak::MERAK_ISA
