// bf16 products by oneDNN: on bfloat16 operands where the processor multiplies such, else on float32 ones that were rounded.
#include <algorithm>      // std::max
#include <string_view>    // implementation names
#include <unordered_map>  // primitive arguments

#include "ops/cpu/bf16_product.h"
#include "ops/cpu/dnnl.h"         // oneDNN
#include "ops/cpu/kept_weight.h"  // KeptWeight
#include "ops/cpu/panel_product.h"  // panels
#include "ops/cpu/parallel.h"     // parallel_for

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

constexpr auto kBf16 = Memory::data_type::bf16;
constexpr size_t kStrip = 64;

size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Sums into the result itself where nothing else is done to them, else into scratch, and finished from there.
class OneDnnProduct : public Bf16Product {
 public:
  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }
  void prepare() override { weight_.prepare(); }

  void run(const void* a, const void* b, const Finish& finish, RunContext& context) override {
    auto* scratch = static_cast<std::byte*>(context.scratch);
    auto* sums = plan_.is_plain ? static_cast<float*>(finish.out) : reinterpret_cast<float*>(scratch + sums_at_);
    multiply(left(a, scratch + left_at_), right(b, context, scratch + right_at_), sums, scratch);
    if (plan_.is_plain) return;
    const auto block = MERAK_PICK(finish_block);
    const int64_t grain = std::max<int64_t>(1, kParallelGrain / 4 / static_cast<int64_t>(plan_.n));
    parallel_for(static_cast<int64_t>(plan_.m), grain, [&](int64_t begin, int64_t end) {
      const auto row = static_cast<size_t>(begin);
      block(finish, sums + row * plan_.n, plan_.n, row, 0, static_cast<size_t>(end - begin), plan_.n);
    });
  }

 protected:
  explicit OneDnnProduct(const Bf16ProductPlan& plan) : plan_(plan) {}

  void build(const MemoryDesc& a, const MemoryDesc& b) {
    dnnl::post_ops ops;
    if (plan_.accumulate) ops.append_sum(1.0f);
    dnnl::primitive_attr attr = onednn::attributes();
    attr.set_post_ops(ops);
    const MemoryDesc c = onednn::plain({int64_t(plan_.m), int64_t(plan_.n)});
    dnnl::matmul::primitive_desc desc;
    try {
      desc = onednn::matmul(a, b, nullptr, c, attr);
    } catch (const dnnl::error& error) {
      throw Unsupported(std::string("oneDNN has no such product on this processor: ") + error.what());
    }
    // Its reference implementation serves every processor, a hundred times slower than rounding and multiplying float32.
    if (std::string_view(desc.impl_info_str()).find("ref") != std::string_view::npos) throw Unsupported("oneDNN has only a reference product");
    primitive_ = dnnl::matmul(desc);
    bind(DNNL_ARG_SRC, a, source_);
    bind(DNNL_ARG_WEIGHTS, b, weights_);
    bind(DNNL_ARG_DST, c, result_);
    bind(DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc(), scratch_);
    take(desc.scratchpad_desc().get_size());
    take_sums();
  }
  void take_sums() { sums_at_ = take(plan_.is_plain ? 0 : plan_.m * plan_.n * sizeof(float)); }

  // Where in scratch the next `bytes` lie.
  size_t take(size_t bytes) {
    const size_t at = scratch_bytes_;
    scratch_bytes_ += up(bytes, 64);
    return at;
  }

  // The operands as the primitive wants them.
  virtual void* left(const void* a, void* scratch) const = 0;
  virtual void* right(const void* b, const RunContext& context, void* scratch) = 0;
  virtual void multiply(void* left, void* right, float* sums, std::byte* scratch) {
    source_.set_data_handle(left);
    weights_.set_data_handle(right);
    result_.set_data_handle(sums);
    scratch_.set_data_handle(scratch);
    primitive_.execute(onednn::stream(), arguments_);
  }

  Bf16ProductPlan plan_;
  KeptWeight weight_;
  size_t left_at_ = 0, right_at_ = 0;

 private:
  void bind(int argument, const MemoryDesc& desc, Memory& memory) {
    memory = Memory(desc, onednn::engine(), nullptr);
    arguments_.insert({argument, memory});
  }

  size_t sums_at_ = 0, scratch_bytes_ = 0;
  dnnl::matmul primitive_;
  Memory source_, weights_, result_, scratch_;
  std::unordered_map<int, Memory> arguments_;
};

class NarrowProduct final : public OneDnnProduct {
 public:
  NarrowProduct(const Bf16ProductPlan& plan, const NodeSpec& spec) : OneDnnProduct(plan), copies_(plan.a.wide || plan.transpose_a) {
    const auto m = int64_t(plan.m), n = int64_t(plan.n), k = int64_t(plan.k);
    build(MemoryDesc({m, k}, kBf16, Shape{k, 1}), MemoryDesc({k, n}, kBf16, Memory::format_tag::BA16a64b2a));
    const size_t packed_bytes = packed_strips(plan.n, kStrip) * packed_strip_size(plan.k, kStrip) * sizeof(uint16_t);
    weight_ = KeptWeight(spec, packed_bytes, m, plan.transpose_b ? "bf16 strips of 64, transposed" : "bf16 strips of 64");
    right_at_ = take(weight_.stays() ? 0 : packed_bytes);
    left_at_ = take(copies_ ? plan.m * plan.k * sizeof(uint16_t) : 0);
  }

 protected:
  void* left(const void* a, void* scratch) const override {
    if (!copies_) return const_cast<void*>(a);
    parallel_for(static_cast<int64_t>(plan_.m), 64, [&](int64_t begin, int64_t end) {
      const auto row = static_cast<size_t>(begin);
      copy_left(plan_, a, row, static_cast<size_t>(end), plan_.k, static_cast<uint16_t*>(scratch) + row * plan_.k);
    });
    return scratch;
  }
  void* right(const void* b, const RunContext& context, void* scratch) override {
    return weight_.get(context, scratch, [&](void* packed) { pack_right(plan_, b, kStrip, static_cast<uint16_t*>(packed)); });
  }

 private:
  bool copies_;
};

// A kept weight lies in panels where few rows gain by them.
class WidenedProduct final : public OneDnnProduct {
 public:
  WidenedProduct(const Bf16ProductPlan& plan, const NodeSpec& spec) : OneDnnProduct(plan) {
    const auto m = int64_t(plan.m), n = int64_t(plan.n), k = int64_t(plan.k);
    if (!plan.transpose_a && gains_by_kept_panels(spec, {m, k, n, plan.transpose_b})) {
      weight_ = KeptWeight(spec, panel_bytes(plan.k, plan.n), m, plan.transpose_b ? "bf16 panels of the transpose" : "bf16 panels");
      take_sums();
    } else {
      build(onednn::strided({m, k}, plan.transpose_a ? Shape{1, m} : Shape{k, 1}),
            onednn::strided({k, n}, plan.transpose_b ? Shape{1, k} : Shape{n, 1}));
    }
    left_at_ = take(plan.m * plan.k * sizeof(float));
    right_at_ = take(plan.k * plan.n * sizeof(float));
  }

 protected:
  void* left(const void* a, void* scratch) const override { return widened(a, plan_.a.wide, plan_.m * plan_.k, scratch); }
  void* right(const void* b, const RunContext& context, void* scratch) override {
    if (!weight_.stays()) return widened(b, plan_.b.wide, plan_.k * plan_.n, scratch);
    return weight_.get(context, nullptr, [&](void* panels) {
      const auto* rounded = static_cast<const float*>(widened(b, plan_.b.wide, plan_.k * plan_.n, scratch));
      pack_into_panels(rounded, plan_.transpose_b ? 1 : plan_.n, plan_.transpose_b ? plan_.k : 1, plan_.k, plan_.n, static_cast<float*>(panels));
    });
  }
  void multiply(void* left, void* right, float* sums, std::byte* scratch) override {
    if (weight_.stays())
      multiply_by_panels({static_cast<float*>(left), plan_.k, 1, static_cast<float*>(right), plan_.k, plan_.n, sums, plan_.accumulate}, plan_.m);
    else
      OneDnnProduct::multiply(left, right, sums, scratch);
  }

 private:
  // What bfloat16 keeps of the numbers, as float32.
  static void* widened(const void* data, bool wide, size_t count, void* scratch) {
    const auto round = MERAK_PICK(round_to_bf16);
    const auto widen = MERAK_PICK(from_bf16);
    auto* to = static_cast<float*>(scratch);
    parallel_for(static_cast<int64_t>(count), kParallelGrain, [&](int64_t begin, int64_t end) {
      const auto n = static_cast<size_t>(end - begin);
      if (wide) round(static_cast<const float*>(data) + begin, to + begin, n);
      else widen(static_cast<const uint16_t*>(data) + begin, to + begin, n);
    });
    return to;
  }
};

}  // namespace

std::unique_ptr<Bf16Product> make_onednn_product(const Bf16ProductPlan& plan, const NodeSpec& spec) {
  return std::make_unique<NarrowProduct>(plan, spec);
}

std::unique_ptr<Bf16Product> make_widened_product(const Bf16ProductPlan& plan, const NodeSpec& spec) {
  return std::make_unique<WidenedProduct>(plan, spec);
}

}  // namespace merak
