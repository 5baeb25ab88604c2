// Along one dim: the place of the extreme value, running sums and products, the largest k. X, Y: number types; WRAPS: Y is i32.
#include "device/elementwise.cuh"
#include "device/reduce.cuh"
#include "device/sort.cuh"

// The first of the largest (`wants_max`) or smallest values; NaN counts only in front, as in tfjs. A warp a row where `inner` is 1.
extern "C" __global__ void arg_extreme(const X* __restrict__ x, int* __restrict__ y, i64 rows, i64 length, i64 inner, int wants_max) {
  const i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  const bool shares = inner == 1;
  const i64 row = shares ? thread / 32 : thread;
  const int lane = shares ? threadIdx.x & 31 : 0, lanes = shares ? 32 : 1;
  if (row >= rows) return;
  const X* from = x + row / inner * length * inner + row % inner;
  double top = 0;
  i64 best = -1;
  for (i64 k = lane; k < length; k += lanes) {
    const double value = read_number<double>(from, k * inner);
    if (is_nan(value) && k > 0) continue;
    if (best < 0 || (wants_max ? value > top : value < top)) {
      top = value;
      best = k;
    }
  }
  if (shares)
    for (int bits = 16; bits > 0; bits >>= 1) {
      const double other = __shfl_xor_sync(kAllLanes, top, bits);
      const i64 place = __shfl_xor_sync(kAllLanes, best, bits);
      // A NaN in front stays.
      const bool is_first_nan = best == 0 && is_nan(top), is_other_nan = place == 0 && is_nan(other);
      const bool is_better = place >= 0 && (best < 0 || (wants_max ? other > top : other < top) || (other == top && place < best));
      if (!is_first_nan && (is_other_nan || is_better)) {
        top = other;
        best = place;
      }
    }
  if (lane == 0) y[row] = best < 0 ? 0 : (int)best;
}

__device__ inline double joined(double a, double b, int multiplies) { return multiplies ? a * b : a + b; }

// A thread a row, one after another: what was stored as an integer is what goes on.
extern "C" __global__ void cumulative(const X* __restrict__ x, Y* __restrict__ y, i64 rows, i64 length, i64 inner, int exclusive, int reverse, int multiplies) {
  const i64 row = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const i64 start = row / inner * length * inner + row % inner;
  double total = multiplies ? 1 : 0;
  for (i64 k = 0; k < length; k++) {
    const i64 at = start + (reverse ? length - 1 - k : k) * inner;
    const double value = read_number<double>(x, at);
    if (exclusive) write_number<double>(y, at, total);
    total = joined(total, value, multiplies);
    if (!exclusive) write_number<double>(y, at, total);
    if (WRAPS) total = to_int32(total);
  }
}

// A warp a row of neighbours, floats: 32 at a time.
extern "C" __global__ void cumulative_rows(const X* __restrict__ x, Y* __restrict__ y, i64 rows, i64 length, int exclusive, int reverse, int multiplies) {
  const i64 row = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x & 31;
  if (row >= rows) return;
  double before = multiplies ? 1 : 0;
  for (i64 base = 0; base < length; base += 32) {
    const i64 k = base + lane, at = row * length + (reverse ? length - 1 - k : k);
    double total = k < length ? read_number<double>(x, at) : multiplies ? 1 : 0;
    for (int delta = 1; delta < 32; delta *= 2) {
      const double other = __shfl_up_sync(kAllLanes, total, delta);
      if (lane >= delta) total = joined(other, total, multiplies);
    }
    const double left = __shfl_up_sync(kAllLanes, total, 1);
    const double own = exclusive ? (lane == 0 ? before : joined(before, left, multiplies)) : joined(before, total, multiplies);
    if (k < length) write_number<double>(y, at, own);
    before = joined(before, __shfl_sync(kAllLanes, total, 31), multiplies);
  }
}

// Rises as numbers fall; 0 and -0 are equal, NaN comes last.
__device__ inline u32 order_of(float x) {
  if (is_nan(x)) return 0xffffffffu;
  const u32 bits = __float_as_uint(x + 0.0f);
  return ~(bits >> 31 ? ~bits : bits | 0x80000000u);
}
__device__ inline u32 order_of(i32 x) { return ~((u32)x ^ 0x80000000u); }
__device__ inline u32 order_of(u8 x) { return ~(u32)x; }

// A row's keys (order, place in the row), sorted in chunks; block (row, chunk).
extern "C" __global__ void __launch_bounds__(kSortThreads) sort_rows(const X* __restrict__ x, u64* __restrict__ sorted, i64 length, int num_chunks) {
  __shared__ u64 keys[kChunk];
  const i64 row = blockIdx.x / num_chunks, first = (i64)(blockIdx.x % num_chunks) * kChunk;
  for (int i = threadIdx.x; i < kChunk; i += kSortThreads)
    keys[i] = first + i < length ? (u64)order_of(x[row * length + first + i]) << 32 | (u64)(first + i) : ~0ull;
  sort_chunk(keys);
  for (int i = threadIdx.x; i < kChunk; i += kSortThreads) sorted[(i64)blockIdx.x * kChunk + i] = keys[i];
}

// A thread a key: its rank is how many come before it in all chunks of its row.
extern "C" __global__ void take_top(const X* __restrict__ x, const u64* __restrict__ sorted, X* __restrict__ values, int* __restrict__ indices, i64 length, int num_chunks,
                                    i64 k, i64 total) {
  const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total || sorted[i] == ~0ull) return;
  const i64 chunk = i / kChunk, row = chunk / num_chunks;
  i64 rank = i % kChunk;
  for (int c = 0; c < num_chunks && rank < k; c++)
    if (row * num_chunks + c != chunk) rank += lower_bound(sorted + (row * num_chunks + c) * kChunk, sorted[i]);
  if (rank >= k) return;
  const i64 place = (i64)(u32)sorted[i];
  values[row * k + rank] = x[row * length + place];
  indices[row * k + rank] = (int)place;
}
