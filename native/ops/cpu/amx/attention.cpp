// Blocks of 32 queries against all keys they may see, several blocks at a time: going from the tile unit to vectors and back is slow
// (amx/product.cpp), so the products of all of them come first, then the softmax of all.
#include "ops/cpu/amx/attention.h"

#include <cstring>  // memcpy, memset

#include "ops/cpu/amx/tiles.h"  // sum_block
#include "ops/cpu/isa/bf16.h"   // packing

namespace merak::amx {
namespace {

constexpr size_t kMostQueries = 256, kMostScores = 1 << 16;  // of a group

size_t up(size_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// Sizes rounded up to whole blocks.
struct Sizes {
  size_t queries, keys, depth;
  // From row to row of scores and weights, and of their transposes: no powers of two, so that rows spread over the cache.
  size_t scores, turned;
  size_t group;  // how many queries are taken at a time
  explicit Sizes(const AttentionHead& head)
      : queries(up(static_cast<size_t>(head.num_queries))), keys(up(static_cast<size_t>(head.num_keys))),
        depth(up(static_cast<size_t>(head.depth))), scores(keys + kBlock) {
    group = kMostScores / (keys ? keys : 1) / kBlock * kBlock;
    group = group < kBlock ? kBlock : group > kMostQueries ? kMostQueries : group;
    group = group < queries ? group : queries;
    turned = group + kBlock;
  }
  size_t in_group(size_t first) const { return queries - first < group ? queries - first : group; }
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
  float *scores, *mixed, *factors;
  Forward(const Sizes& sizes, Cutter& cutter)
      : rows(cutter.take<uint16_t>(sizes.keys * sizes.depth)), queries(cutter.take<uint16_t>(sizes.queries * sizes.depth)),
        keys(cutter.take<uint16_t>(sizes.keys * sizes.depth)), values(cutter.take<uint16_t>(sizes.keys * sizes.depth)),
        weights(cutter.take<uint16_t>(sizes.group * sizes.scores)), scores(cutter.take<float>(sizes.group * sizes.scores)),
        mixed(cutter.take<float>(sizes.group * sizes.depth)), factors(cutter.take<float>(sizes.group)) {}
};

struct Backward {
  uint16_t *slopes, *values, *keys, *slope_rows, *query_rows, *gradient, *turned_weights, *turned_gradient;
  float *slope_scores, *key_sums, *value_sums;
  Backward(const Sizes& sizes, Cutter& cutter)
      : slopes(cutter.take<uint16_t>(sizes.queries * sizes.depth)), values(cutter.take<uint16_t>(sizes.keys * sizes.depth)),
        keys(cutter.take<uint16_t>(sizes.keys * sizes.depth)), slope_rows(cutter.take<uint16_t>(sizes.group * sizes.depth)),
        query_rows(cutter.take<uint16_t>(sizes.group * sizes.depth)), gradient(cutter.take<uint16_t>(sizes.group * sizes.scores)),
        turned_weights(cutter.take<uint16_t>(sizes.keys * sizes.turned)), turned_gradient(cutter.take<uint16_t>(sizes.keys * sizes.turned)),
        slope_scores(cutter.take<float>(sizes.group * sizes.scores)), key_sums(cutter.take<float>(sizes.keys * sizes.depth)),
        value_sums(cutter.take<float>(sizes.keys * sizes.depth)) {}
};

// Rows of a head as bfloat16 side by side, zeros past the last column and row.
void gather(const void* rows, bool narrow, size_t num_rows, const AttentionHead& head, size_t stride, uint16_t* gathered) {
  const auto depth = static_cast<size_t>(head.depth), padded = up(depth);
  for (size_t r = 0; r < num_rows; r++) {
    uint16_t* row = gathered + r * padded;
    if (narrow) std::memcpy(row, static_cast<const uint16_t*>(rows) + r * stride, depth * sizeof(uint16_t));
    else isa_amx::to_bf16(static_cast<const float*>(rows) + r * stride, row, depth);
    if (padded > depth) std::memset(row + depth, 0, (padded - depth) * sizeof(uint16_t));
  }
  std::memset(gathered + num_rows * padded, 0, (up(num_rows) - num_rows) * padded * sizeof(uint16_t));
}

void pack(const uint16_t* rows, size_t num_rows, size_t depth, bool transposed, uint16_t* packed) {
  isa_amx::pack_rows({rows, false, num_rows, depth, depth}, transposed, kBlock, 0, num_rows, packed);
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

// How many queries a group really has.
size_t rows_from(const AttentionHead& head, size_t first, size_t in_group) {
  const size_t left = static_cast<size_t>(head.num_queries) - first;
  return left < in_group ? left : in_group;
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
  for (size_t group = 0; group < num_queries; group += sizes.group) {
    const size_t in_group = sizes.in_group(group), rows = rows_from(head, group, in_group);
    for (size_t b = 0; b < in_group; b += kBlock)
      multiply(arrays.queries + (group + b) * sizes.depth, sizes.depth, arrays.keys, sizes.depth, sizes.depth * kBlock,
               keys_of_block(head, group + b), arrays.scores + b * sizes.scores, sizes.scores, false);
    for (size_t r = 0; r < rows; r++)
      arrays.factors[r] = isa_amx::attention_weights(head, static_cast<int>(group + r), arrays.scores + r * sizes.scores,
                                    static_cast<int>(keys_of_block(head, (group + r) / kBlock * kBlock)), logsumexp + group + r,
                                    arrays.weights + r * sizes.scores);
    std::memset(arrays.weights + rows * sizes.scores, 0, (in_group - rows) * sizes.scores * sizeof(uint16_t));
    for (size_t b = 0; b < in_group; b += kBlock)
      multiply(arrays.weights + b * sizes.scores, sizes.scores, arrays.values, keys_of_block(head, group + b), sizes.keys * kBlock,
               sizes.depth, arrays.mixed + b * sizes.depth, sizes.depth, false);
    void* to = static_cast<std::byte*>(out) + group * head.out_stride * (head.narrow_out ? sizeof(uint16_t) : sizeof(float));
    isa_amx::write_head_rows(arrays.mixed, sizes.depth, static_cast<int>(rows), head.depth, arrays.factors, head.narrow_out, to, head.out_stride);
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
  for (size_t group = 0; group < num_queries; group += sizes.group) {
    const size_t in_group = sizes.in_group(group), rows = rows_from(head, group, in_group);
    for (size_t b = 0; b < in_group; b += kBlock) {
      const size_t first = group + b, keys = keys_of_block(head, first);
      multiply(arrays.queries + first * depth, depth, arrays.keys, depth, by_depth, keys, arrays.scores + b * sizes.scores, sizes.scores, false);
      multiply(more.slopes + first * depth, depth, more.values, depth, by_depth, keys, more.slope_scores + b * sizes.scores, sizes.scores, false);
    }
    for (size_t r = 0; r < rows; r++)
      isa_amx::attention_slopes(head, static_cast<int>(group + r), arrays.scores + r * sizes.scores, more.slope_scores + r * sizes.scores,
                                   static_cast<int>(keys_of_block(head, (group + r) / kBlock * kBlock)), logsumexp[group + r],
                                   more.slopes + (group + r) * depth,
                                   static_cast<const std::byte*>(out) + (group + r) * head.out_stride * out_bytes,
                                   arrays.weights + r * sizes.scores, more.gradient + r * sizes.scores);
    std::memset(arrays.weights + rows * sizes.scores, 0, (in_group - rows) * sizes.scores * sizeof(uint16_t));
    std::memset(more.gradient + rows * sizes.scores, 0, (in_group - rows) * sizes.scores * sizeof(uint16_t));
    for (size_t b = 0; b < in_group; b += kBlock) {
      const size_t keys = keys_of_block(head, group + b), at = b * sizes.scores;
      isa_amx::transpose_to_bf16({arrays.weights + at, false, kBlock, keys, sizes.scores}, 0, keys, more.turned_weights + b, sizes.turned);
      isa_amx::transpose_to_bf16({more.gradient + at, false, kBlock, keys, sizes.scores}, 0, keys, more.turned_gradient + b, sizes.turned);
    }
    pack(more.slopes + group * depth, in_group, depth, false, more.slope_rows);
    pack(arrays.queries + group * depth, in_group, depth, false, more.query_rows);
    for (size_t b = 0; b < in_group; b += kBlock)
      multiply(more.gradient + b * sizes.scores, sizes.scores, more.keys, keys_of_block(head, group + b), by_keys, depth,
               arrays.mixed + b * depth, depth, false);
    for (size_t key = 0; key < sizes.keys; key += kBlock) {
      // Blocks of queries that see these keys: from the first one that does.
      size_t b = 0;
      while (b < in_group && keys_of_block(head, group + b) <= key) b += kBlock;
      const size_t inner = in_group - b, at = key * sizes.turned + b;
      if (inner == 0) continue;
      multiply(more.turned_weights + at, sizes.turned, more.slope_rows + b * kBlock, inner, in_group * kBlock, depth,
               more.value_sums + key * depth, depth, true);
      multiply(more.turned_gradient + at, sizes.turned, more.query_rows + b * kBlock, inner, in_group * kBlock, depth,
               more.key_sums + key * depth, depth, true);
    }
    isa_amx::write_head_rows(arrays.mixed, depth, static_cast<int>(rows), head.depth, nullptr, head.narrow_gradient,
                                static_cast<std::byte*>(dq) + group * head.stride * gradient_bytes, head.stride);
  }
  _tile_release();
  isa_amx::write_head_rows(more.key_sums, depth, head.num_keys, head.depth, nullptr, head.narrow_gradient, dk, head.stride);
  isa_amx::write_head_rows(more.value_sums, depth, head.num_keys, head.depth, nullptr, head.narrow_gradient, dv, head.stride);
}

}  // namespace merak::amx
