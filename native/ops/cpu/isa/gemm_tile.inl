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
    for (int j = 0; j < Columns; j++)
      sum[r][j] = accumulate ? *reinterpret_cast<const Vector*>(c + r * ldc + j * kWidth) : Vector{};
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

// A strip of columns for all rows.
template <int Rows, int Columns>
static inline void gemm_strip(int m, int k, const float* a, size_t row_stride, size_t depth_stride, const float* b, size_t ldb,
                              float* c, size_t ldc, bool accumulate) {
  int r = 0;
  for (; r + Rows <= m; r += Rows)
    gemm_tile<Rows, Columns>(k, a + r * row_stride, row_stride, depth_stride, b, ldb, c + r * ldc, ldc, accumulate);
  for (; r < m; r++)
    gemm_tile<1, Columns>(k, a + r * row_stride, row_stride, depth_stride, b, ldb, c + r * ldc, ldc, accumulate);
}

static inline void gemm(int m, int n, int k, const float* a, size_t row_stride, size_t depth_stride, const float* b, size_t ldb,
                        float* c, size_t ldc, bool accumulate) {
  int j = 0;
#if defined(__AVX512F__)
  for (; j + 4 * kWidth <= n; j += 4 * kWidth)
    gemm_strip<6, 4>(m, k, a, row_stride, depth_stride, b + j, ldb, c + j, ldc, accumulate);
  for (; j + 2 * kWidth <= n; j += 2 * kWidth)
    gemm_strip<12, 2>(m, k, a, row_stride, depth_stride, b + j, ldb, c + j, ldc, accumulate);
  for (; j + kWidth <= n; j += kWidth)
    gemm_strip<12, 1>(m, k, a, row_stride, depth_stride, b + j, ldb, c + j, ldc, accumulate);
#else
  for (; j + 2 * kWidth <= n; j += 2 * kWidth)
    gemm_strip<6, 2>(m, k, a, row_stride, depth_stride, b + j, ldb, c + j, ldc, accumulate);
  for (; j + kWidth <= n; j += kWidth)
    gemm_strip<6, 1>(m, k, a, row_stride, depth_stride, b + j, ldb, c + j, ldc, accumulate);
#endif
  for (; j < n; j++)
    for (int r = 0; r < m; r++) {
      float sum = accumulate ? c[r * ldc + j] : 0.0f;
      for (int p = 0; p < k; p++) sum += a[r * row_stride + p * depth_stride] * b[p * ldb + j];
      c[r * ldc + j] = sum;
    }
}

}  // namespace merak::MERAK_ISA
