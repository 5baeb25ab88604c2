// A reduction on CUDA: which dims lie how, and the launches of device/reduction.cuh.
#pragma once
#include <algorithm>  // clamp
#include <optional>   // the copy

#include "ops/cpu/layout_plan.h"  // LayoutCopy
#include "ops/cpu/shape.h"        // strides
#include "ops/cuda/launch.h"

namespace merak::cuda {

// [outer, reduced, inner] after merging; where reduced dims are several, a copy puts them last.
struct ReductionLayout {
  int64_t outer = 1, reduced = 1, inner = 1;
  std::optional<LayoutCopy> copy;

  ReductionLayout(const TensorType& x, const std::vector<int64_t>& axes) {
    const auto is_reduced = [&](size_t d) { return std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end(); };
    std::vector<std::pair<bool, int64_t>> groups;
    for (size_t d = 0; d < x.shape.size(); d++) {
      if (x.shape[d] == 1) continue;
      if (!groups.empty() && groups.back().first == is_reduced(d)) groups.back().second *= x.shape[d];
      else groups.emplace_back(is_reduced(d), x.shape[d]);
    }
    size_t num_reduced = 0;
    for (const auto& [gone, size] : groups) num_reduced += gone;
    if (num_reduced <= 1) {
      bool past = false;
      for (const auto& [gone, size] : groups) {
        (gone ? reduced : past ? inner : outer) *= size;
        past = past || gone;
      }
      return;
    }
    const Shape own = strides_of(x.shape);
    LayoutCopy moved{0, 0, {}, {}, 0, {}, 0, size_of(x.dtype)};
    for (const bool gone : {false, true})
      for (size_t d = 0; d < x.shape.size(); d++) {
        if (is_reduced(d) != gone) continue;
        (gone ? reduced : outer) *= x.shape[d];
        moved.sizes.push_back(x.shape[d]);
        moved.from.push_back(own[d]);
      }
    moved.to = strides_of(moved.sizes);
    copy = moved;
  }
};

// A reduction of [outer, reduced, inner], in pieces where few long ones would leave the card idle.
class DeviceReduction {
 public:
  using Macros = std::vector<std::string>;

  // `first` compiles an entry of device/reduction.cuh with these macros, over the Source whose argument run() is given.
  template <class First>
  DeviceReduction(Device& device, const std::string& name, const ReductionLayout& layout, DType result, const std::string& work, const First& first)
      : device_(&device), reduced_(layout.reduced), inner_(layout.inner), outer_(layout.outer), is_wide_(work == "double") {
    const bool is_extreme = name == "Max" || name == "Min";
    // An empty maximum is what tfjs reads past the end of its array: NaN.
    const std::string identity = name == "Prod" ? "1" : name == "All" ? (reduced_ ? "1" : "0") : !is_extreme ? "0" : reduced_ == 0 ? "MERAK_NAN" : name == "Max" ? "-MERAK_INFINITY" : "MERAK_INFINITY";
    factor_ = name == "Mean" && reduced_ > 0 ? 1.0 / static_cast<double>(reduced_) : 1.0;
    const bool rows = inner_ == 1;
    require(rows ? outer_ < (int64_t{1} << 31) : outer_ < 65536, "too many outer dims");
    const int64_t blocks = rows ? outer_ : outer_ * ((inner_ + 31) / 32), least = rows ? 4096 : 256;
    num_pieces_ = std::clamp<int64_t>(std::min((reduced_ + least - 1) / least, 528 / std::max<int64_t>(1, blocks)), 1, 1024);
    piece_ = std::max<int64_t>(1, (reduced_ + num_pieces_ - 1) / num_pieces_);
    threads_ = rows ? (reduced_ > 1024 ? 256 : reduced_ > 128 ? 128 : 32) : 256;
    const auto macros = [&](const std::string& to) {
      return Macros{define("Y", to), define("WORK", work), define("OP", "op_" + (name == "Mean" ? std::string("Sum") : name)), define("IDENTITY", identity)};
    };
    const char* entry = rows ? "reduce_rows" : "reduce_columns";
    first_ = first(entry, macros(num_pieces_ > 1 ? work : type_name(result)));
    if (num_pieces_ == 1) return;
    Macros joining = macros(type_name(result));
    joining.push_back(define("X", work));
    second_ = device.function("reduce", entry, joining);
  }

  size_t scratch_bytes() const { return num_pieces_ > 1 ? static_cast<size_t>(num_pieces_ * outer_ * inner_) * (is_wide_ ? 8 : 4) : 0; }

  void run(const void* source, void* out, void* scratch, CUstream stream) const {
    if (outer_ * inner_ == 0) return;
    const bool cuts = num_pieces_ > 1;
    void* parts = cuts ? scratch : out;
    const double one = 1;
    const float narrow_one = 1, narrow_factor = static_cast<float>(factor_);
    const auto scale = [&](bool last) -> const void* { return is_wide_ ? static_cast<const void*>(last ? &factor_ : &one) : last ? &narrow_factor : &narrow_one; };
    const auto pieces = static_cast<unsigned>(num_pieces_);
    if (inner_ == 1) {
      const auto rows = static_cast<unsigned>(outer_);
      device_->launch(first_, {rows, pieces}, {threads_}, 0, stream, {source, &parts, &reduced_, &piece_, scale(!cuts)});
      if (cuts) device_->launch(second_, {rows, 1}, {threads_}, 0, stream, {&parts, &out, &num_pieces_, &num_pieces_, scale(true)});
      return;
    }
    device_->launch(first_, {blocks_for(inner_, 32), pieces, static_cast<unsigned>(outer_)}, {threads_}, 0, stream, {source, &parts, &reduced_, &inner_, &piece_, scale(!cuts)});
    // The pieces lie [pieces, outer inner]: one matrix whose columns are joined.
    const int64_t width = outer_ * inner_;
    if (cuts) device_->launch(second_, {blocks_for(width, 32), 1, 1}, {threads_}, 0, stream, {&parts, &out, &num_pieces_, &width, &num_pieces_, scale(true)});
  }

 private:
  Device* device_;
  int64_t reduced_, inner_, outer_, num_pieces_ = 1, piece_ = 1;
  bool is_wide_;
  double factor_ = 1;
  unsigned threads_ = 32;
  CUfunction first_ = nullptr, second_ = nullptr;
};

}  // namespace merak::cuda
