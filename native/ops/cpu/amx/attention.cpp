// Blocks of 32 queries against all keys they may see; the gradient of keys and values sums over 256 queries at a time.
#include "ops/cpu/amx/attention.h"

#include <cstring>  // memcpy, memset

#include "ops/cpu/amx/tiles.h"  // sum_block
#include "ops/cpu/isa/bf16.h"   // packing

namespace merak::amx {
namespace {

constexpr size_t kQueries = 256;                     // whose weights are kept for the gradient of keys and values
constexpr size_t kQueryStride = kQueries + kBlock;   // no power of two: rows of the transposed weights spread over the cache

size_t up(size_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// Sizes rounded up to whole blocks.
struct Sizes {
  size_t queries, keys, depth;
  size_t scores;  // from row to row of scores and weights
  explicit Sizes(const AttentionHead& head)
      : queries(up(static_cast<size_t>(head.num_queries))), keys(up(static_cast<size_t>(head.num_keys))),
        depth(up(static_cast<size_t>(head.depth))), scores(keys + kBlock) {}
};

// Cuts a workspace into arrays.
class Cutter {
 public:
  explicit Cutter(void* workspace) : at_(static_cast<std::byte*>(workspace)) {}
  template <class Number>
  Number* take(size_t count) {
    auto* array = reinterpret_cast<Number*>(at_);
    at_ += (count * sizeof(Number) + 63) / 64 * 64;
    return array;
  }
  size_t used(const void* workspace) const { return static_cast<size_t>(at_ - static_cast<const std::byte*>(workspace)); }

 private:
  std::byte* at_;
};

struct Forward {
  uint16_t *rows, *queries, *keys, *values, *weights;
  float *scores, *mixed;
  Forward(const Sizes& sizes, Cutter& cutter)
      : rows(cutter.take<uint16_t>(sizes.keys * sizes.depth)), queries(cutter.take<uint16_t>(sizes.queries * sizes.depth)),
        keys(cutter.take<uint16_t>(sizes.keys * sizes.depth)), values(cutter.take<uint16_t>(sizes.keys * sizes.depth)),
        weights(cutter.take<uint16_t>(kBlock * sizes.scores)), scores(cutter.take<float>(kBlock * sizes.scores)),
        mixed(cutter.take<float>(kBlock * sizes.depth)) {}
};

struct Backward {
  uint16_t *slopes, *values, *keys, *slope_rows, *query_rows, *gradient, *turned_weights, *turned_gradient;
  float *slope_scores, *key_sums, *value_sums;
  Backward(const Sizes& sizes, Cutter& cutter)
      : slopes(cutter.take<uint16_t>(sizes.queries * sizes.depth)), values(cutter.take<uint16_t>(sizes.keys * sizes.depth)),
        keys(cutter.take<uint16_t>(sizes.keys * sizes.depth)), slope_rows(cutter.take<uint16_t>(kQueries * sizes.depth)),
        query_rows(cutter.take<uint16_t>(kQueries * sizes.depth)), gradient(cutter.take<uint16_t>(kBlock * sizes.scores)),
        turned_weights(cutter.take<uint16_t>(sizes.keys * kQueryStride)), turned_gradient(cutter.take<uint16_t>(sizes.keys * kQueryStride)),
        slope_scores(cutter.take<float>(kBlock * sizes.scores)), key_sums(cutter.take<float>(sizes.keys * sizes.depth)),
        value_sums(cutter.take<float>(sizes.keys * sizes.depth)) {}
};

// Rows of a head as bfloat16 side by side, zeros past the last column and row.
void gather(const void* rows, bool narrow, size_t num_rows, const AttentionHead& head, size_t stride, uint16_t* gathered) {
  const auto depth = static_cast<size_t>(head.depth), padded = up(depth);
  for (size_t r = 0; r < num_rows; r++) {
    uint16_t* row = gathered + r * padded;
    if (narrow) std::memcpy(row, static_cast<const uint16_t*>(rows) + r * stride, depth * sizeof(uint16_t));
    else isa_avx512::to_bf16(static_cast<const float*>(rows) + r * stride, row, depth);
    if (padded > depth) std::memset(row + depth, 0, (padded - depth) * sizeof(uint16_t));
  }
  std::memset(gathered + num_rows * padded, 0, (up(num_rows) - num_rows) * padded * sizeof(uint16_t));
}

void pack(const uint16_t* rows, size_t num_rows, size_t depth, bool transposed, uint16_t* packed) {
  isa_avx512::pack_rows({rows, false, num_rows, depth, depth}, transposed, kBlock, 0, num_rows, packed);
}

// c [32, columns] = a [32, inner] b, all multiples of 32.
void multiply(const uint16_t* a, size_t stride, const uint16_t* packed, size_t inner, size_t strip_size, size_t columns, float* c,
              size_t ld, bool accumulate) {
  for (size_t strip = 0; strip < columns / kBlock; strip++)
    sum_block(kBlock, a, stride, packed + strip * strip_size, inner / kBlock, c + strip * kBlock, ld, accumulate);
}

// How many keys a block of queries looks at, in whole blocks.
size_t keys_of_block(const AttentionHead& head, size_t first) {
  const int last = static_cast<int>(first + kBlock) < head.num_queries ? static_cast<int>(first + kBlock) : head.num_queries;
  return up(static_cast<size_t>(visible_keys(head, last - 1)));
}

size_t rows_of_block(const AttentionHead& head, size_t first) {
  const size_t left = static_cast<size_t>(head.num_queries) - first;
  return left < kBlock ? left : kBlock;
}

}  // namespace

size_t attention_workspace(const AttentionHead& head) {
  Cutter cutter(nullptr);
  const Forward arrays(Sizes(head), cutter);
  return cutter.used(nullptr);
}

size_t attention_grad_workspace(const AttentionHead& head) {
  Cutter cutter(nullptr);
  const Sizes sizes(head);
  const Forward arrays(sizes, cutter);
  const Backward more(sizes, cutter);
  return cutter.used(nullptr);
}

void attention(const AttentionHead& head, const uint16_t* q, const uint16_t* k, const uint16_t* v, void* out, float* logsumexp,
               void* workspace) {
  const Sizes sizes(head);
  Cutter cutter(workspace);
  const Forward arrays(sizes, cutter);
  const auto num_keys = static_cast<size_t>(head.num_keys), num_queries = static_cast<size_t>(head.num_queries);
  gather(k, true, num_keys, head, head.stride, arrays.rows);
  pack(arrays.rows, sizes.keys, sizes.depth, true, arrays.keys);
  gather(v, true, num_keys, head, head.stride, arrays.rows);
  pack(arrays.rows, sizes.keys, sizes.depth, false, arrays.values);
  gather(q, true, num_queries, head, head.stride, arrays.queries);
  configure(kBlock);
  for (size_t first = 0; first < num_queries; first += kBlock) {
    const size_t rows = rows_of_block(head, first), keys = keys_of_block(head, first);
    multiply(arrays.queries + first * sizes.depth, sizes.depth, arrays.keys, sizes.depth, sizes.depth * kBlock, keys, arrays.scores,
             sizes.scores, false);
    for (size_t r = 0; r < rows; r++)
      isa_avx512::attention_weights(head, static_cast<int>(first + r), arrays.scores + r * sizes.scores, static_cast<int>(keys),
                                    logsumexp + first + r, arrays.weights + r * sizes.scores);
    for (size_t r = rows; r < kBlock; r++) std::memset(arrays.weights + r * sizes.scores, 0, keys * sizeof(uint16_t));
    multiply(arrays.weights, sizes.scores, arrays.values, keys, sizes.keys * kBlock, sizes.depth, arrays.mixed, sizes.depth, false);
    void* to = static_cast<std::byte*>(out) + first * head.out_stride * (head.narrow_out ? sizeof(uint16_t) : sizeof(float));
    isa_avx512::write_head_rows(arrays.mixed, sizes.depth, static_cast<int>(rows), head.depth, head.narrow_out, to, head.out_stride);
  }
  _tile_release();
}

void attention_grad(const AttentionHead& head, const void* dy, const uint16_t* q, const uint16_t* k, const uint16_t* v, const void* out,
                    const float* logsumexp, void* dq, void* dk, void* dv, void* workspace) {
  const Sizes sizes(head);
  Cutter cutter(workspace);
  const Forward arrays(sizes, cutter);
  const Backward more(sizes, cutter);
  const auto num_keys = static_cast<size_t>(head.num_keys), num_queries = static_cast<size_t>(head.num_queries);
  const size_t depth = sizes.depth, by_keys = sizes.keys * kBlock, by_depth = depth * kBlock;
  gather(v, true, num_keys, head, head.stride, arrays.rows);
  pack(arrays.rows, sizes.keys, depth, true, more.values);
  gather(k, true, num_keys, head, head.stride, arrays.rows);
  pack(arrays.rows, sizes.keys, depth, true, arrays.keys);
  pack(arrays.rows, sizes.keys, depth, false, more.keys);
  gather(q, true, num_queries, head, head.stride, arrays.queries);
  gather(dy, head.narrow_dy, num_queries, head, head.out_stride, more.slopes);
  std::memset(more.key_sums, 0, sizes.keys * depth * sizeof(float));
  std::memset(more.value_sums, 0, sizes.keys * depth * sizeof(float));
  const size_t out_bytes = head.narrow_out ? sizeof(uint16_t) : sizeof(float);
  const size_t gradient_bytes = head.narrow_gradient ? sizeof(uint16_t) : sizeof(float);
  configure(kBlock);
  for (size_t group = 0; group < sizes.queries; group += kQueries) {
    const size_t in_group = sizes.queries - group < kQueries ? sizes.queries - group : kQueries;
    size_t seen[kQueries / kBlock];
    for (size_t b = 0; b < in_group / kBlock; b++) {
      const size_t first = group + b * kBlock, rows = rows_of_block(head, first), keys = keys_of_block(head, first);
      seen[b] = keys;
      multiply(arrays.queries + first * depth, depth, arrays.keys, depth, by_depth, keys, arrays.scores, sizes.scores, false);
      multiply(more.slopes + first * depth, depth, more.values, depth, by_depth, keys, more.slope_scores, sizes.scores, false);
      for (size_t r = 0; r < rows; r++)
        isa_avx512::attention_slopes(head, static_cast<int>(first + r), arrays.scores + r * sizes.scores,
                                     more.slope_scores + r * sizes.scores, static_cast<int>(keys), logsumexp[first + r],
                                     more.slopes + (first + r) * depth,
                                     static_cast<const std::byte*>(out) + (first + r) * head.out_stride * out_bytes,
                                     arrays.weights + r * sizes.scores, more.gradient + r * sizes.scores);
      for (size_t r = rows; r < kBlock; r++) {
        std::memset(arrays.weights + r * sizes.scores, 0, keys * sizeof(uint16_t));
        std::memset(more.gradient + r * sizes.scores, 0, keys * sizeof(uint16_t));
      }
      multiply(more.gradient, sizes.scores, more.keys, keys, by_keys, depth, arrays.mixed, depth, false);
      isa_avx512::write_head_rows(arrays.mixed, depth, static_cast<int>(rows), head.depth, head.narrow_gradient,
                                  static_cast<std::byte*>(dq) + first * head.stride * gradient_bytes, head.stride);
      isa_avx512::transpose_to_bf16({arrays.weights, false, kBlock, keys, sizes.scores}, 0, keys, more.turned_weights + b * kBlock,
                                    kQueryStride);
      isa_avx512::transpose_to_bf16({more.gradient, false, kBlock, keys, sizes.scores}, 0, keys, more.turned_gradient + b * kBlock,
                                    kQueryStride);
    }
    pack(more.slopes + group * depth, in_group, depth, false, more.slope_rows);
    pack(arrays.queries + group * depth, in_group, depth, false, more.query_rows);
    for (size_t key = 0; key < sizes.keys; key += kBlock) {
      // Blocks of queries that see these keys: from the first one that does.
      size_t b = 0;
      while (b < in_group / kBlock && seen[b] <= key) b++;
      const size_t inner = in_group - b * kBlock, skipped = b * kBlock * kBlock, at = key * kQueryStride + b * kBlock;
      if (inner == 0) continue;
      multiply(more.turned_weights + at, kQueryStride, more.slope_rows + skipped, inner, in_group * kBlock, depth,
               more.value_sums + key * depth, depth, true);
      multiply(more.turned_gradient + at, kQueryStride, more.query_rows + skipped, inner, in_group * kBlock, depth,
               more.key_sums + key * depth, depth, true);
    }
  }
  _tile_release();
  isa_avx512::write_head_rows(more.key_sums, depth, head.num_keys, head.depth, head.narrow_gradient, dk, head.stride);
  isa_avx512::write_head_rows(more.value_sums, depth, head.num_keys, head.depth, head.narrow_gradient, dv, head.stride);
}

}  // namespace merak::amx
