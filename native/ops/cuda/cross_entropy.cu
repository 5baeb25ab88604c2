// MerakSoftmaxCrossEntropy, its gradient and MerakShardedCrossEntropy: a block for each row, each row read once.
#include "device/reduce.cuh"
#include "device/step.cuh"

struct Vocabulary {
  int width, offset, limit;  // columns, label of column 0, valid columns
  // Column of a label, or -1 when it lies elsewhere.
  __device__ int column(int label) const {
    const i64 column = (i64)label - offset;
    return label >= 0 && column >= 0 && column < limit ? (int)column : -1;
  }
};

// Calls body(column, value) on this thread's share of a row, four neighbours an access where rows allow it.
template <class Body>
__device__ inline void over_row(const float* __restrict__ row, int count, const Body& body) {
  // Rows of an odd width begin anywhere: a few elements, then whole vectors, then the rest.
  const int head = min(count, (int)((4 - ((u64)row / 4 & 3)) & 3)), vectors = (count - head) / 4;
  for (int i = threadIdx.x; i < head; i += blockDim.x) body(i, row[i]);
#pragma unroll 4
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
    const int at = head + 4 * i;
    const float4 four = load4(row + at);
    body(at, four.x);
    body(at + 1, four.y);
    body(at + 2, four.z);
    body(at + 3, four.w);
  }
  for (int i = head + 4 * vectors + threadIdx.x; i < count; i += blockDim.x) body(i, row[i]);
}

// The largest value and the sum of exponentials less it, together (Milakov and Gimelshein 2018).
extern "C" __global__ void cross_entropy(const float* __restrict__ logits, const int* __restrict__ labels, float* __restrict__ loss,
                                         float* __restrict__ logsumexp, Vocabulary vocabulary, MerakStep* step) {
  __shared__ float shared[33];
  const float* row = logits + (i64)blockIdx.x * vocabulary.width;
  float highest = -MERAK_INFINITY, sum = 0;
  over_row(row, vocabulary.limit, [&](int, float x) {
    if (x > highest) {
      sum = sum * __expf(highest - x) + 1.0f;
      highest = x;
    } else {
      sum += x == highest ? 1.0f : __expf(x - highest);  // infinities less themselves are no number
    }
  });
  const float top = max_over_block(highest, shared);
  const bool is_empty = highest == -MERAK_INFINITY && sum == sum;
  const float total = sum_over_block(is_empty ? 0.0f : highest == top ? sum : sum * __expf(highest - top), shared);
  if (threadIdx.x != 0) return;
  const bool is_finite = top - top == 0.0f;
  const float result = total != total ? MERAK_NAN : is_finite ? top + logf(total) : top;
  logsumexp[blockIdx.x] = result;
  const int label = labels[blockIdx.x], column = vocabulary.column(label);
  loss[blockIdx.x] = column < 0 ? 0.0f : result - row[column];
  if (column < 0 && label >= 0) note_outside(step, label, vocabulary.limit);
}

extern "C" __global__ void cross_entropy_grad(const float* __restrict__ dy, const float* __restrict__ logits, const int* __restrict__ labels,
                                              const float* __restrict__ logsumexp, float* __restrict__ dlogits, Vocabulary vocabulary) {
  const i64 at = (i64)blockIdx.x * vocabulary.width;
  const float* row = logits + at;
  float* result = dlogits + at;
  const int label = labels[blockIdx.x], column = vocabulary.column(label);
  const float slope = label < 0 ? 0.0f : dy[blockIdx.x], shift = logsumexp[blockIdx.x];
  const auto value = [&](int c, float x) {
    if (label < 0 || c >= vocabulary.limit) return 0.0f;
    return __expf(x - shift) * slope - (c == column ? slope : 0.0f);
  };
  // Both rows begin equally far from an aligned address when their tensors do.
  const int head = min(vocabulary.width, (int)((4 - ((u64)row / 4 & 3)) & 3));
  const int vectors = ((u64)row & 15) == ((u64)result & 15) ? (vocabulary.width - head) / 4 : 0;
  for (int i = threadIdx.x; i < head; i += blockDim.x) result[i] = value(i, row[i]);
#pragma unroll 4
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
    const int c = head + 4 * i;
    const float4 four = load4(row + c);
    store4(result + c, make_float4(value(c, four.x), value(c + 1, four.y), value(c + 2, four.z), value(c + 3, four.w)));
  }
  for (int i = head + 4 * vectors + threadIdx.x; i < vocabulary.width; i += blockDim.x) result[i] = value(i, row[i]);
}

extern "C" __global__ void sharded_cross_entropy(const float* __restrict__ logits, const int* __restrict__ labels, const float* __restrict__ max,
                                                 float* __restrict__ sum_exp, float* __restrict__ target, Vocabulary vocabulary) {
  __shared__ float shared[33];
  const float* row = logits + (i64)blockIdx.x * vocabulary.width;
  const float highest = max[blockIdx.x];
  float sum = 0;
  over_row(row, vocabulary.limit, [&](int, float x) { sum += __expf(x - highest); });
  sum = sum_over_block(sum, shared);
  if (threadIdx.x != 0) return;
  sum_exp[blockIdx.x] = sum;
  const int column = vocabulary.column(labels[blockIdx.x]);
  target[blockIdx.x] = column < 0 ? 0.0f : row[column];
}
