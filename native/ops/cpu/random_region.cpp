// From a local piece to the Philox words of its elements.
#include "ops/cpu/random_region.h"

#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {

RandomRegion::RandomRegion(const NodeSpec& spec, const Shape& shape)
    : shape_(shape),
      global_(spec.attrs.ints("globalShape")),
      offsets_(spec.attrs.ints("offsets")),
      batch_dim_(spec.attrs.integer("batchDim", -1)),
      node_(static_cast<uint32_t>(spec.attrs.integer("node"))) {
  require(global_.size() == shape_.size() && offsets_.size() == shape_.size(), "globalShape and offsets must have the local rank");
  require(batch_dim_ < static_cast<int64_t>(shape_.size()), "batchDim is past the last dim");
  for (size_t d = 0; d < shape_.size(); d++) require(offsets_[d] >= 0 && offsets_[d] + shape_[d] <= global_[d], "a random region ends outside its whole");
  if (batch_dim_ >= 0) batch_extent_ = spec.attrs.integer("batchExtent", shape_[static_cast<size_t>(batch_dim_)]);
  double elements = 1;
  for (const int64_t dim : global_) elements *= static_cast<double>(std::max<int64_t>(1, dim));
  require(elements <= 1e15 && batch_dim_ >= -1 && batch_extent_ >= 0, "a random tensor is larger than any memory");
  if (shape_.empty()) {
    shape_ = global_ = {1};
    offsets_ = {0};
  }
  // While the last dim is whole, it and the one before form one run.
  while (shape_.size() > 1 && shape_.back() == global_.back()) {
    const int64_t last = shape_.back();
    shape_.pop_back();
    global_.pop_back();
    offsets_.pop_back();
    shape_.back() *= last;
    global_.back() *= last;
    offsets_.back() *= last;
    if (batch_dim_ == static_cast<int64_t>(shape_.size()) - 1) batch_extent_ *= last;
  }
  run_length_ = shape_.back();
  for (size_t d = 0; d + 1 < shape_.size(); d++) num_runs_ *= shape_[d];
  if (run_length_ == 0) num_runs_ = 0;
}

uint64_t RandomRegion::run_start(int64_t run, const RunContext& context) const {
  const int64_t batches_before = context.dp_index * context.num_micro_batches + context.micro;
  // Merging never takes the batch dim's place away: it multiplies it, so that the offset in merged units is as below.
  int64_t start = 0;
  Shape index(shape_.size(), 0);
  for (size_t d = shape_.size() - 1; d-- > 0;) {
    index[d] = run % shape_[d];
    run /= shape_[d];
  }
  for (size_t d = 0; d < shape_.size(); d++) {
    int64_t at = offsets_[d] + index[d];
    if (static_cast<int64_t>(d) == batch_dim()) at += batches_before * batch_step();
    start = start * global_[d] + at;
  }
  return static_cast<uint64_t>(start);
}

void for_each_words(const RandomRegion& region, const RunContext& context,
                    void (*body)(void*, int64_t, const uint32_t*, int64_t, int64_t), void* data) {
  constexpr int64_t kPiece = 4096;
  const RandomStream stream = region.stream(context);
  const auto philox = MERAK_PICK(philox_blocks);
  const int64_t length = region.run_length();
  if (region.numel() == 0) return;
  const int64_t pieces_per_run = (length + kPiece - 1) / kPiece;
  parallel_for(region.num_runs() * pieces_per_run, std::max<int64_t>(1, kPiece / length), [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[kPiece + 8];
    for (int64_t task = begin; task < end; task++) {
      const int64_t run = task / pieces_per_run, at = task % pieces_per_run * kPiece;
      const int64_t count = std::min(kPiece, length - at);
      const uint64_t first = region.run_start(run, context) + static_cast<uint64_t>(at);
      const uint64_t first_block = first / 4, last_block = (first + static_cast<uint64_t>(count) - 1) / 4;
      philox(stream, first_block, static_cast<size_t>(last_block - first_block + 1), words);
      body(data, run * length + at, words + first % 4, count, static_cast<int64_t>(first % 4));
    }
  });
}

}  // namespace merak
