// Sum, Mean, Max, Min, Prod, All, Any, Softmax and LogSoftmax on CUDA. Other dims than the last or the first come to lie so by a copy.
#include <algorithm>  // clamp
#include <cmath>      // NAN
#include <optional>   // the copy

#include "ops/cpu/shape.h"
#include "ops/cuda/copy.h"

namespace merak {
namespace {

using namespace cuda;

// [outer, reduced, inner] after merging; where reduced dims are several, a copy puts them last.
struct Layout {
  int64_t outer = 1, reduced = 1, inner = 1;
  std::optional<LayoutCopy> copy;

  Layout(const TensorType& x, const std::vector<int64_t>& axes) {
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

std::unique_ptr<Kernel> make_reduce(const NodeSpec& spec, Device& device) {
  const std::string& name = spec.kernel;
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const Layout layout(x, reduction_axes(spec, name == "Max" ? "reductionIndices" : "axis", x.shape.size()));
  require(!is_half(x.dtype) && x.dtype != DType::i8, "only float32, int32 and bool are reduced");
  const int64_t outputs = y.numel();
  const bool is_extreme = name == "Max" || name == "Min";
  // An empty maximum is what tfjs reads past the end of its array: NaN.
  const std::string identity = name == "Prod" ? "1" : name == "All" ? (layout.reduced ? "1" : "0") : !is_extreme ? "0" : layout.reduced == 0 ? "MERAK_NAN" : name == "Max" ? "-MERAK_INFINITY" : "MERAK_INFINITY";
  const double factor = name == "Mean" && layout.reduced > 0 ? 1.0 / static_cast<double>(layout.reduced) : 1.0;
  const bool wide = x.dtype == DType::i32 || y.dtype == DType::i32;
  const std::string work = wide ? "double" : "float", op = "op_" + (name == "Mean" ? std::string("Sum") : name);
  const auto function = [&](const char* entry, const std::string& from, const std::string& to) {
    return device.function("reduce", entry, {define("X", from), define("Y", to), define("WORK", work), define("OP", op), define("IDENTITY", identity)});
  };
  const bool rows = layout.inner == 1;
  const int64_t blocks = rows ? layout.outer : layout.outer * ((layout.inner + 31) / 32);
  // Few long ones are cut into pieces, joined by a second launch.
  const int64_t least = rows ? 4096 : 256;
  const int64_t num_pieces = std::clamp<int64_t>(std::min((layout.reduced + least - 1) / least, 528 / std::max<int64_t>(1, blocks)), 1, 1024);
  const int64_t piece = std::max<int64_t>(1, (layout.reduced + num_pieces - 1) / num_pieces);
  require(rows ? layout.outer < (int64_t{1} << 31) : layout.outer < 65536, "too many outer dims");
  const char* entry = rows ? "reduce_rows" : "reduce_columns";
  const bool cuts = num_pieces > 1;
  const CUfunction first = function(entry, type_name(x.dtype), cuts ? work : type_name(y.dtype)), second = cuts ? function(entry, work, type_name(y.dtype)) : nullptr;
  std::optional<DeviceCopy> copy;
  if (layout.copy) copy.emplace(device, *layout.copy);
  const size_t copied = layout.copy ? rounded_up(x.bytes()) : 0, parts_bytes = cuts ? static_cast<size_t>(num_pieces * outputs) * (wide ? 8 : 4) : 0;
  const unsigned threads = rows ? (layout.reduced > 1024 ? 256 : layout.reduced > 128 ? 128 : 32) : 256;
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        if (outputs == 0) return;
        const CUstream stream = stream_of(context);
        const void* from = in[0];
        if (copy) {
          copy->run(in[0], context.scratch, stream);
          from = context.scratch;
        }
        void* parts = cuts ? static_cast<void*>(at(context.scratch, copied)) : out[0];
        const double one = 1, scale = factor;
        const float narrow_one = 1, narrow_scale = static_cast<float>(factor);
        const auto number = [&](bool last) -> const void* { return wide ? static_cast<const void*>(last ? &scale : &one) : last ? &narrow_scale : &narrow_one; };
        const auto pieces = static_cast<unsigned>(num_pieces);
        if (rows) {
          device.launch(first, {static_cast<unsigned>(layout.outer), pieces}, {threads}, 0, stream, {&from, &parts, &layout.reduced, &piece, number(!cuts)});
          if (cuts) device.launch(second, {static_cast<unsigned>(layout.outer), 1}, {threads}, 0, stream, {&parts, &out[0], &num_pieces, &num_pieces, number(true)});
          return;
        }
        const unsigned across = blocks_for(layout.inner, 32);
        device.launch(first, {across, pieces, static_cast<unsigned>(layout.outer)}, {threads}, 0, stream, {&from, &parts, &layout.reduced, &layout.inner, &piece, number(!cuts)});
        // The pieces lie [pieces, outer inner]: one matrix whose columns are joined.
        const int64_t width = layout.outer * layout.inner;
        if (cuts) device.launch(second, {blocks_for(width, 32), 1, 1}, {threads}, 0, stream, {&parts, &out[0], &num_pieces, &width, &num_pieces, number(true)});
      },
      copied + parts_bytes);
}

std::unique_ptr<Kernel> make_softmax(const NodeSpec& spec, Device& device) {
  const TensorType& x = spec.inputs.at(0);
  const bool logarithm = spec.kernel == "LogSoftmax";
  require(x.dtype == DType::f32 && !x.shape.empty(), "the input must be float32 with a dim");
  const int64_t axis = normalise_axis(spec.attrs.ints(logarithm ? "axis" : "dim", {-1}).at(0), x.shape.size());
  require(axis + 1 == static_cast<int64_t>(x.shape.size()), "only the last dim");
  const int width = static_cast<int>(x.shape.back());
  const unsigned rows = width == 0 ? 0 : static_cast<unsigned>(x.numel() / width), threads = width > 1024 ? 256 : width > 128 ? 128 : 32;
  const CUfunction function = device.function("softmax", "softmax", {define("LOGARITHM", logarithm)});
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {rows}, {threads}, 0, stream_of(context), {&in[0], &out[0], &width});
  });
}

}  // namespace

void register_cuda_reductions() {
  for (const char* name : {"Sum", "Mean", "Max", "Min", "Prod", "All", "Any"}) register_cuda_kernel(name, make_reduce);
  register_cuda_kernel("Softmax", make_softmax);
  register_cuda_kernel("LogSoftmax", make_softmax);
}

}  // namespace merak
