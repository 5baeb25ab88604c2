// bf16 products on the tile unit: operands laid out as ops/cpu/amx wants them, blocks of rows or columns to the threads.
#include <omp.h>  // threads

#include <algorithm>  // std::min

#include "ops/cpu/amx/product.h"
#include "ops/cpu/bf16_product.h"
#include "ops/cpu/kept_weight.h"   // KeptWeight
#include "ops/cpu/make_kernel.h"   // require

namespace merak {
namespace {

constexpr size_t kStrip = 32;

size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
size_t parts(size_t n, size_t size) { return (n + size - 1) / size; }

class TileProduct final : public Bf16Product {
 public:
  TileProduct(const Bf16ProductPlan& plan, const NodeSpec& spec) : plan_(plan) {
    require(amx::available(), "no tile unit");
    copies_ = plan.a.wide || plan.transpose_a || plan.k % kStrip != 0;
    stride_ = copies_ ? up(plan.k, kStrip) : plan.k;
    // Rows a multiple of 4 KiB apart would meet in one set of the first-level cache.
    if (copies_ && stride_ % 512 == 0) stride_ += kStrip;
    const size_t packed_bytes = packed_strips(plan.n, kStrip) * packed_strip_size(plan.k, kStrip) * sizeof(uint16_t);
    weight_ = KeptWeight(spec, packed_bytes, static_cast<int64_t>(plan.m), plan.transpose_b ? "bf16 strips of 32, transposed" : "bf16 strips of 32");
    copied_at_ = weight_.stays() ? 0 : up(packed_bytes, 64);
    cut();
    sums_at_ = copied_at_ + up(copies_ ? threads_ * rows_ * stride_ * sizeof(uint16_t) : 0, 64);
    scratch_bytes_ = sums_at_ + threads_ * amx::kPendingSums * sizeof(float);
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }
  void prepare() override { weight_.prepare(); }

  void run(const void* a, const void* b, const Finish& finish, RunContext& context) override {
    auto* scratch = static_cast<std::byte*>(context.scratch);
    const void* packed = weight_.get(context, scratch, [&](void* at) { pack_right(plan_, b, kStrip, static_cast<uint16_t*>(at)); });
    const size_t strips = packed_strips(plan_.n, kStrip), across = parts(strips, columns_), tasks = parts(plan_.m, rows_) * across;
#pragma omp parallel for schedule(static) if (tasks > 1) num_threads(static_cast<int>(threads_))
    for (size_t task = 0; task < tasks; task++) {
      const size_t row = task / across * rows_, row_end = std::min(plan_.m, row + rows_);
      const size_t strip = task % across * columns_, strip_end = std::min(strips, strip + columns_);
      const auto thread = static_cast<size_t>(omp_get_thread_num());
      const auto* left = static_cast<const uint16_t*>(a) + row * stride_;
      if (copies_) {
        auto* copied = reinterpret_cast<uint16_t*>(scratch + copied_at_) + thread * rows_ * stride_;
        copy_left(plan_, a, row, row_end, stride_, copied);
        left = copied;
      }
      amx::multiply({left, stride_, static_cast<const uint16_t*>(packed), row_end - row, plan_.n, plan_.k, plan_.accumulate},
                    from_row(finish, row), strip, strip_end, reinterpret_cast<float*>(scratch + sums_at_) + thread * amx::kPendingSums);
    }
  }

 private:
  // Whole rows to each thread where there are enough; how the result is cut changes no sum.
  void cut() {
    threads_ = static_cast<size_t>(omp_get_max_threads());
    const size_t strips = packed_strips(plan_.n, kStrip);
    const size_t row_tasks = up(parts(plan_.m, amx::rows_at_once(plan_.n, plan_.k, copies_)), threads_);
    const bool by_rows = plan_.m >= row_tasks * kStrip;
    rows_ = up(by_rows ? parts(plan_.m, row_tasks) : plan_.m, kStrip);
    columns_ = by_rows ? strips : parts(strips, threads_);
  }

  Bf16ProductPlan plan_;
  bool copies_;
  size_t stride_, copied_at_, sums_at_, scratch_bytes_;
  size_t threads_, rows_, columns_;  // of a task: rows, strips
  KeptWeight weight_;
};

}  // namespace

std::unique_ptr<Bf16Product> make_tile_product(const Bf16ProductPlan& plan, const NodeSpec& spec) {
  return std::make_unique<TileProduct>(plan, spec);
}

}  // namespace merak
