// MerakQuantise and MerakQuantisedMatMul: symmetric int8 with exact 32-bit sums, by oneDNN where it has int8 dot products (VNNI, AMX), else
// by Merak's tiles of 16-bit pairs.
#include <omp.h>  // thread counts

#include <cmath>          // isfinite
#include <unordered_map>  // primitive arguments

#include "ops/cpu/dnnl.h"           // oneDNN
#include "ops/cpu/isa/quantised.h"  // the loops
#include "ops/cpu/kept_weight.h"    // KeptWeight
#include "ops/cpu/make_kernel.h"    // make_kernel
#include "ops/cpu/parallel.h"       // parallel_for

namespace merak {
namespace {

using onednn::Memory;
using onednn::MemoryDesc;

float inverse_of(const NodeSpec& spec, const char* name) {
  const double scale = spec.attrs.number(name);
  require(std::isfinite(scale) && scale > 0, "a scale must be positive");
  return static_cast<float>(1.0 / scale);
}

std::unique_ptr<Kernel> make_quantise(const NodeSpec& spec) {
  require(spec.inputs.at(0).dtype == DType::f32, "x must be float32");
  require(spec.outputs.at(0).dtype == DType::i8, "the result must be int8");
  const float inverse = inverse_of(spec, "scale");
  const auto span = MERAK_PICK(to_int8);
  const int64_t n = spec.inputs[0].numel();
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* x = static_cast<const float*>(inputs[0]);
    auto* y = static_cast<int8_t*>(outputs[0]);
    parallel_for(n, 4 * kParallelGrain, [&](int64_t begin, int64_t end) { span(x + begin, inverse, y + begin, static_cast<size_t>(end - begin)); });
  });
}

// Without dot products of int8 oneDNN sums pairs in 16 bits, which saturate.
bool has_exact_products() {
  if (isa() != Isa::avx512) return false;
  using dnnl::cpu_isa;
  switch (dnnl::get_effective_cpu_isa()) {
    case cpu_isa::avx512_core_vnni:
    case cpu_isa::avx512_core_bf16:
    case cpu_isa::avx512_core_amx: return true;
    default: break;
  }
#if DNNL_VERSION_MAJOR >= 3
  switch (dnnl::get_effective_cpu_isa()) {
    case cpu_isa::avx512_core_fp16:
    case cpu_isa::avx512_core_amx_fp16: return true;
    default: break;
  }
#endif
  return false;
}

size_t up(size_t n) { return (n + 63) / 64 * 64; }

// oneDNN's product of `rows` rows, on one thread.
class RowsProduct {
 public:
  RowsProduct(int64_t rows, int64_t inner, int64_t columns) {
    constexpr auto kInt8 = Memory::data_type::s8;
    const MemoryDesc a({rows, inner}, kInt8, Shape{inner, 1});
    const MemoryDesc b({inner, columns}, kInt8, Memory::format_tag::any);
    const MemoryDesc c({rows, columns}, Memory::data_type::s32, Shape{columns, 1});
    desc_ = onednn::matmul(a, b, nullptr, c, onednn::attributes());
    primitive_ = dnnl::matmul(desc_);
    plain_ = MemoryDesc({inner, columns}, kInt8, Shape{columns, 1});
    pack_ = dnnl::reorder(Memory(plain_, onednn::engine(), nullptr), Memory(desc_.weights_desc(), onednn::engine(), nullptr));
  }
  size_t packed_bytes() const { return desc_.weights_desc().get_size(); }
  size_t scratch_bytes() const { return up(desc_.scratchpad_desc().get_size()); }
  bool packs_like(const RowsProduct& other) const { return desc_.weights_desc() == other.desc_.weights_desc(); }

  void pack(const void* b, void* packed) {
    Memory from(plain_, onednn::engine(), const_cast<void*>(b)), to(desc_.weights_desc(), onednn::engine(), packed);
    pack_.execute(onednn::stream(), from, to);
  }

  // What a thread needs of its own.
  struct Lane {
    Memory a, b, c, scratch;
    std::unordered_map<int, Memory> arguments;
  };
  Lane lane() const {
    Lane lane;
    const auto bind = [&](int argument, const MemoryDesc& desc, Memory& memory) {
      memory = Memory(desc, onednn::engine(), nullptr);
      lane.arguments.insert({argument, memory});
    };
    bind(DNNL_ARG_SRC, desc_.src_desc(), lane.a);
    bind(DNNL_ARG_WEIGHTS, desc_.weights_desc(), lane.b);
    bind(DNNL_ARG_DST, desc_.dst_desc(), lane.c);
    bind(DNNL_ARG_SCRATCHPAD, desc_.scratchpad_desc(), lane.scratch);
    return lane;
  }
  void run(Lane& lane, const int8_t* a, void* packed, int32_t* c, void* scratch) const {
    lane.a.set_data_handle(const_cast<int8_t*>(a));
    lane.b.set_data_handle(packed);
    lane.c.set_data_handle(c);
    lane.scratch.set_data_handle(scratch);
    primitive_.execute(onednn::stream(), lane.arguments);
  }

 private:
  dnnl::matmul::primitive_desc desc_;
  dnnl::matmul primitive_;
  dnnl::reorder pack_;
  MemoryDesc plain_;
};

Int8Activation activation_of(const NodeSpec& spec) {
  const std::string name = spec.attrs.text("activation", "linear");
  if (name == "linear") return Int8Activation::linear;
  if (name == "relu") return Int8Activation::relu;
  if (name == "gelu_tanh") return Int8Activation::gelu_tanh;
  if (name == "gelu_none") return Int8Activation::gelu_erf;
  throw Unsupported("activation " + name);
}

// Rows are worked on in blocks whose sums stay in the cache of the thread that turns them into results.
class QuantisedMatMul : public Kernel {
 public:
  explicit QuantisedMatMul(const NodeSpec& spec)
      : a_at_(input_index(spec, "a")), b_at_(input_index(spec, "b")), scales_at_(input_index(spec, "scales")),
        bias_at_(spec.input("bias")), activation_(activation_of(spec)) {
    const TensorType &a = spec.inputs[a_at_], &b = spec.inputs[b_at_], &scales = spec.inputs[scales_at_], &y = spec.outputs.at(0);
    require(a.dtype == DType::i8 && b.dtype == DType::i8, "a and b must be int8");
    require(!a.shape.empty() && b.shape.size() == 2 && a.shape.back() == b.shape[0], "b must be [inner, columns] of a's last dim");
    inner_ = b.shape[0];
    columns_ = b.shape[1];
    require(inner_ < (int64_t{1} << 17), "the inner dim must be below 131072, so that sums fit 32 bits");
    rows_ = inner_ == 0 ? 0 : a.numel() / inner_;
    require(scales.dtype == DType::f32 && scales.numel() == columns_, "scales must be one float32 row");
    if (bias_at_ >= 0)
      require(spec.inputs[bias_at_].dtype == DType::f32 && spec.inputs[bias_at_].numel() == columns_, "bias must be one float32 row");
    require(inner_ > 0, "the inner dim must not be empty");
    require(y.numel() == rows_ * columns_, "the result has the wrong shape");
    rounds_ = y.dtype == DType::i8;
    require(rounds_ || y.dtype == DType::f32, "the result must be float32 or int8");
    if (rounds_) inverse_ = inverse_of(spec, "outputScale");
    if (rows_ * columns_ == 0) return;

    num_lanes_ = std::max(1, omp_get_max_threads());
    const int64_t shared = (rows_ + num_lanes_ - 1) / num_lanes_;
    block_ = std::clamp<int64_t>((shared + 15) / 16 * 16, 16, has_exact_products() ? kMostRows : kMostTileRows);
    block_ = std::min(block_, rows_);
    num_blocks_ = (rows_ + block_ - 1) / block_;
    sums_bytes_ = up(static_cast<size_t>(block_ * columns_) * sizeof(int32_t));
    lane_bytes_ = sums_bytes_;
    if (has_exact_products()) {
      // Each block is one thread's work.
      omp_set_num_threads(1);
      try {
        products_.emplace_back(block_, inner_, columns_);
        if (rows_ % block_ != 0) products_.emplace_back(rows_ % block_, inner_, columns_);
      } catch (...) {
        omp_set_num_threads(num_lanes_);
        throw;
      }
      omp_set_num_threads(num_lanes_);
      size_t work = 0;
      for (const RowsProduct& product : products_) {
        work = std::max(work, product.scratch_bytes());
        packed_at_.push_back(product.packs_like(products_[0]) ? 0 : up(products_[0].packed_bytes()));
      }
      lane_bytes_ += work;
      size_t packed = 0;
      for (size_t i = 0; i < products_.size(); i++) packed = std::max(packed, packed_at_[i] + up(products_[i].packed_bytes()));
      weight_ = KeptWeight(spec, packed, 0, "oneDNN's int8 for " + std::to_string(rows_) + " rows by " + std::to_string(block_));
      scratch_bytes_ = weight_.stays() ? 0 : packed;
      for (int lane = 0; lane < num_lanes_; lane++)
        for (const RowsProduct& product : products_) lanes_.push_back(product.lane());
    } else {
      lane_bytes_ += up(static_cast<size_t>(block_ * ((inner_ + 1) / 2)) * sizeof(int32_t));
      const size_t packed = up(MERAK_PICK(int8_packed_bytes)(static_cast<size_t>(inner_), static_cast<size_t>(columns_)));
      weight_ = KeptWeight(spec, packed, 0, "int8 panels");
      scratch_bytes_ = weight_.stays() ? 0 : packed;
    }
    lanes_at_ = scratch_bytes_;
    scratch_bytes_ += static_cast<size_t>(num_lanes_) * lane_bytes_;
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t kept_bytes() const override { return weight_.bytes(); }
  void prepare() override { weight_.prepare(); }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    if (rows_ * columns_ == 0) return;
    auto* scratch = static_cast<std::byte*>(context.scratch);
    const auto* a = static_cast<const int8_t*>(inputs[a_at_]);
    const auto* b = static_cast<const int8_t*>(inputs[b_at_]);
    const auto inner = static_cast<size_t>(inner_), columns = static_cast<size_t>(columns_);
    auto* packed = static_cast<std::byte*>(weight_.get(context, scratch, [&](void* memory) {
      if (products_.empty()) MERAK_PICK(int8_pack)(b, inner, columns, static_cast<int16_t*>(memory));
      for (size_t i = 0; i < products_.size(); i++)
        if (i == 0 || packed_at_[i] > 0) products_[i].pack(b, static_cast<std::byte*>(memory) + packed_at_[i]);
    }));
    parallel_for(num_lanes_, 1, [&](int64_t lane, int64_t) {
      std::byte* own = scratch + lanes_at_ + static_cast<size_t>(lane) * lane_bytes_;
      auto* sums = reinterpret_cast<int32_t*>(own);
      for (int64_t block = lane; block < num_blocks_; block += num_lanes_) {
        const int64_t begin = block * block_, rows = std::min(block_, rows_ - begin);
        if (!products_.empty()) {
          const size_t which = rows == block_ ? 0 : 1;
          RowsProduct::Lane& memory = lanes_[static_cast<size_t>(lane) * products_.size() + which];
          products_[which].run(memory, a + begin * inner_, packed + packed_at_[which], sums, own + sums_bytes_);
        } else {
          auto* wide = reinterpret_cast<int16_t*>(own + sums_bytes_);
          MERAK_PICK(int8_widen)(a + begin * inner_, static_cast<size_t>(rows), inner, wide);
          MERAK_PICK(int8_product)(wide, reinterpret_cast<const int16_t*>(packed), sums, static_cast<size_t>(rows), inner, columns);
        }
        finish(inputs, outputs, sums, begin, rows);
      }
    });
  }

 private:
  void finish(const void* const* inputs, void* const* outputs, const int32_t* sums, int64_t begin, int64_t rows) const {
    const auto* scales = static_cast<const float*>(inputs[scales_at_]);
    const auto* bias = bias_at_ < 0 ? nullptr : static_cast<const float*>(inputs[bias_at_]);
    const auto n = static_cast<size_t>(columns_);
    const auto to_float = MERAK_PICK(int8_epilogue);
    const auto to_int8 = MERAK_PICK(int8_epilogue_to_int8);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t at = (begin + r) * columns_;
      if (rounds_) to_int8(sums + r * columns_, scales, bias, activation_, inverse_, static_cast<int8_t*>(outputs[0]) + at, n);
      else to_float(sums + r * columns_, scales, bias, activation_, static_cast<float*>(outputs[0]) + at, n);
    }
  }

  static constexpr int64_t kMostRows = 128;
  static constexpr int64_t kMostTileRows = 48;  // whole tiles of six, and what they read stays in the first cache

  size_t a_at_, b_at_, scales_at_;
  int bias_at_;
  Int8Activation activation_;
  int64_t rows_ = 0, inner_ = 0, columns_ = 0, block_ = 1, num_blocks_ = 0;
  int num_lanes_ = 1;
  bool rounds_ = false;
  float inverse_ = 1;
  std::vector<RowsProduct> products_;  // of a whole block, and of the last when it is smaller
  std::vector<size_t> packed_at_;      // where the packed weight of each lies
  std::vector<RowsProduct::Lane> lanes_;
  KeptWeight weight_;
  size_t sums_bytes_ = 0, lane_bytes_ = 0, lanes_at_ = 0, scratch_bytes_ = 0;
};

}  // namespace

void register_quantised_kernels() {
  register_kernel("MerakQuantise", make_quantise);
  register_kernel("MerakQuantisedMatMul", [](const NodeSpec& spec) -> std::unique_ptr<Kernel> { return std::make_unique<QuantisedMatMul>(spec); });
}

}  // namespace merak
