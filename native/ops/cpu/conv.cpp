// Convolutions and their gradients through oneDNN: Conv2D, DepthwiseConv2dNative, Conv3D. Channels last, tfjs's filter layout
// [spatial..., in, out]; a depthwise filter [h, w, channels, multiplier] is a grouped one.
#include <algorithm>      // std::max, any_of
#include <cstring>        // memset
#include <optional>       // the grid's copies
#include <unordered_map>  // primitive arguments

#include "ops/cpu/dnnl.h"         // oneDNN
#include "ops/cpu/make_kernel.h"  // require
#include "ops/cpu/strided_copy.h"

namespace merak {
namespace {

using onednn::ConvolutionShape;
using onednn::Memory;
using onednn::MemoryDesc;

struct ConvPlan {
  size_t num_spatial;
  bool depthwise;
  Shape x, filter, y;  // tfjs's shapes
  Shape x_used;        // x without trailing rows and columns that no output reads
  Shape x_steps;       // how far apart the places lie of which x_used is made
  ConvolutionShape shape;
};

Shape spatial_list(const Attrs& attrs, const char* name, size_t num_spatial) {
  Shape values = attrs.ints(name, {1});
  if (values.size() == 1) values.resize(num_spatial, values[0]);
  require(values.size() == num_spatial, "strides and dilations must be one per spatial dim");
  return values;
}

// A filter of one place reads a grid of places: taken out first, they leave a convolution without strides. oneDNN's own way
// (2.6, jit_1x1:avx2) gets the gradient of the filter wrong when the input channels are no multiple of 8 (docs/bugs.md).
void skip_unread(ConvPlan& plan) {
  const auto all = [&](const auto& holds) {
    for (size_t d = 0; d < plan.num_spatial; d++)
      if (!holds(d)) return false;
    return true;
  };
  if (!all([&](size_t d) { return plan.filter[d] == 1 && plan.shape.pad_before[d] == 0 && plan.shape.pad_after[d] == 0; })) return;
  for (size_t d = 0; d < plan.num_spatial; d++) {
    plan.x_used[d + 1] = plan.y[d + 1];
    plan.x_steps[d + 1] = plan.shape.strides[d];
    plan.shape.strides[d] = 1;
  }
}

ConvPlan plan_of(const NodeSpec& spec, const Shape& x, const Shape& filter, const Shape& y, bool depthwise) {
  require(x.size() == filter.size() && x.size() == y.size() && (x.size() == 4 || x.size() == 5), "a convolution needs tensors of rank 4 or 5");
  ConvPlan plan{x.size() - 2, depthwise, x, filter, y, x, Shape(x.size(), 1), {}};
  const size_t n = plan.num_spatial;
  require(x[0] == y[0] && filter[n] == x[n + 1] && y[n + 1] == (depthwise ? x[n + 1] * filter[n + 1] : filter[n + 1]),
          "batch or channels do not fit");
  const std::string format = spec.attrs.text("dataFormat", "");
  require(format.empty() || format == "NHWC" || format == "NDHWC", "only channels-last tensors");
  for (const TensorType& input : spec.inputs) require(input.dtype == DType::f32, "only float32 tensors");
  require(spec.outputs[0].dtype == DType::f32, "only float32 tensors");
  plan.shape.strides = spatial_list(spec.attrs, "strides", n);
  const Shape dilations = spatial_list(spec.attrs, "dilations", n);
  const auto& pad = spec.attrs.values.count("pad") ? spec.attrs.values.at("pad") : Attr{std::string("valid")};
  for (size_t d = 0; d < n; d++) {
    const int64_t in = x[d + 1], out = y[d + 1], stride = plan.shape.strides[d];
    require(std::max({x[d + 1], y[d + 1], filter[d], stride, dilations[d]}) < (1 << 24), "a spatial dim is too large");
    require(filter[d] > 0 && stride > 0 && dilations[d] > 0, "filter, strides and dilations must be positive");
    const int64_t extent = (filter[d] - 1) * dilations[d] + 1;
    // What the last output reads past the input when nothing is padded before.
    const int64_t needed = (out - 1) * stride + extent - in;
    int64_t before = 0;
    if (const auto* text = std::get_if<std::string>(&pad)) {
      require(*text == "same" || *text == "valid", "pad must be 'same', 'valid', a number or explicit");
      if (*text == "same") before = std::max<int64_t>(0, needed) / 2;
    } else {
      const Shape numbers = spec.attrs.ints("pad");
      if (numbers.size() == 1) before = numbers[0];
      else if (numbers.size() == 2 * (n + 2)) before = numbers[2 * (d + 1)];
      else require(false, "explicit padding must give two numbers per dim");
    }
    require(before >= 0, "padding must not be negative");
    // tfjs computes both output sizes of a numeric pad from the filter's height, which may leave more unread than oneDNN allows.
    if (before - needed >= stride) plan.x_used[d + 1] += needed - before;
    plan.shape.dilations.push_back(dilations[d] - 1);
    plan.shape.pad_before.push_back(before);
    plan.shape.pad_after.push_back(std::max<int64_t>(0, needed - before));
  }
  skip_unread(plan);
  return plan;
}

// tfjs's [batch, spatial..., channels] as oneDNN's [batch, channels, spatial...], where it lies.
Shape channels_second(const Shape& shape) {
  Shape result = {shape.front(), shape.back()};
  result.insert(result.end(), shape.begin() + 1, shape.end() - 1);
  return result;
}
MemoryDesc activation(const Shape& used, const Shape& shape) {
  return onednn::strided(channels_second(used), channels_second(onednn::row_major(shape)));
}

// Dims and strides of the filter as oneDNN names them: [out, in, spatial...] or, grouped, [groups, out, in, spatial...].
struct FilterDesc {
  Shape dims, strides;
};
FilterDesc filter_of(const ConvPlan& plan) {
  const Shape strides = onednn::row_major(plan.filter);
  const size_t n = plan.num_spatial;
  FilterDesc desc;
  if (plan.depthwise) {
    desc.dims = {plan.filter[n], plan.filter[n + 1], 1};
    desc.strides = {strides[n], 1, 1};
  } else {
    desc.dims = {plan.filter[n + 1], plan.filter[n]};
    desc.strides = {1, strides[n]};
  }
  for (size_t d = 0; d < n; d++) {
    desc.dims.push_back(plan.filter[d]);
    desc.strides.push_back(strides[d]);
  }
  return desc;
}

// Memory that is reordered between the layout it lies in and the one the primitive wants.
class Reordered {
 public:
  void set(const MemoryDesc& user, const MemoryDesc& wanted, bool incoming, size_t& scratch) {
    user_ = Memory(user, onednn::engine(), nullptr);
    needed_ = user != wanted;
    if (!needed_) return;
    inner_ = Memory(wanted, onednn::engine(), nullptr);
    offset_ = scratch;
    scratch += (wanted.get_size() + 63) / 64 * 64;
    reorder_ = incoming ? dnnl::reorder(user_, inner_) : dnnl::reorder(inner_, user_);
  }
  const Memory& inner() const { return needed_ ? inner_ : user_; }
  void place(void* data, void* scratch) {
    user_.set_data_handle(data);
    if (needed_) inner_.set_data_handle(static_cast<std::byte*>(scratch) + offset_);
  }
  void bring_in() {
    if (needed_) reorder_.execute(onednn::stream(), user_, inner_);
  }
  void bring_out() {
    if (needed_) reorder_.execute(onednn::stream(), inner_, user_);
  }

 private:
  Memory user_, inner_;
  dnnl::reorder reorder_;
  bool needed_ = false;
  size_t offset_ = 0;
};

enum class Direction { forward, input_gradient, filter_gradient };

class Convolution : public Kernel {
 public:
  // `operands` are indices of x (or dy), filter (or x), in the node's inputs.
  Convolution(const ConvPlan& plan, Direction direction, size_t first, size_t second) : inputs_{first, second} {
    const FilterDesc filter = filter_of(plan);
    const MemoryDesc user_filter = onednn::strided(filter.dims, filter.strides);
    const MemoryDesc any_filter = onednn::any(filter.dims);
    const bool is_grid = std::any_of(plan.x_steps.begin(), plan.x_steps.end(), [](int64_t step) { return step > 1; });
    const MemoryDesc x = activation(plan.x_used, is_grid ? plan.x_used : plan.x), y = activation(plan.y, plan.y);
    if (direction == Direction::input_gradient && plan.x_used != plan.x) {
      zeroed_bytes_ = sizeof(float);
      for (const int64_t size : plan.x) zeroed_bytes_ *= static_cast<size_t>(size);
    }
    const auto scratchpad = [&](const MemoryDesc& desc) {
      scratchpad_ = Memory(desc, onednn::engine(), nullptr);
      scratch_bytes_ = (desc.get_size() + 63) / 64 * 64;
    };
    if (direction == Direction::forward) {
      const auto desc = onednn::convolution(x, any_filter, y, plan.shape);
      scratchpad(desc.scratchpad_desc());
      operands_[0].set(x, desc.src_desc(), true, scratch_bytes_);
      operands_[1].set(user_filter, desc.weights_desc(), true, scratch_bytes_);
      result_.set(y, desc.dst_desc(), false, scratch_bytes_);
      primitive_ = dnnl::convolution_forward(desc);
      bind(DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST);
    } else if (direction == Direction::input_gradient) {
      const auto desc = onednn::convolution_input(x, any_filter, y, plan.shape);
      scratchpad(desc.scratchpad_desc());
      operands_[0].set(y, desc.diff_dst_desc(), true, scratch_bytes_);
      operands_[1].set(user_filter, desc.weights_desc(), true, scratch_bytes_);
      result_.set(x, desc.diff_src_desc(), false, scratch_bytes_);
      primitive_ = dnnl::convolution_backward_data(desc);
      bind(DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC);
    } else {
      const auto desc = onednn::convolution_filter(x, any_filter, y, plan.shape);
      scratchpad(desc.scratchpad_desc());
      operands_[0].set(x, desc.src_desc(), true, scratch_bytes_);
      operands_[1].set(y, desc.diff_dst_desc(), true, scratch_bytes_);
      result_.set(user_filter, desc.diff_weights_desc(), false, scratch_bytes_);
      primitive_ = dnnl::convolution_backward_weights(desc);
      bind(DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS);
    }
    arguments_.insert({DNNL_ARG_SCRATCHPAD, scratchpad_});
    if (is_grid) set_grid(plan, direction == Direction::input_gradient);
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    scratchpad_.set_data_handle(context.scratch);
    void* grid = static_cast<std::byte*>(context.scratch) + grid_offset_;
    if (gather_) gather_->run(inputs[inputs_[0]], grid);
    operands_[0].place(gather_ ? grid : const_cast<void*>(inputs[inputs_[0]]), context.scratch);
    operands_[1].place(const_cast<void*>(inputs[inputs_[1]]), context.scratch);
    result_.place(scatter_ ? grid : outputs[0], context.scratch);
    if (zeroed_bytes_) std::memset(outputs[0], 0, zeroed_bytes_);
    for (Reordered& operand : operands_) operand.bring_in();
    primitive_.execute(onednn::stream(), arguments_);
    result_.bring_out();
    if (scatter_) scatter_->run(grid, outputs[0]);
  }

 private:
  void bind(int first, int second, int result) {
    arguments_ = {{first, operands_[0].inner()}, {second, operands_[1].inner()}, {result, result_.inner()}};
  }

  // The places of x that are read lie densely in scratch.
  void set_grid(const ConvPlan& plan, bool is_result) {
    grid_offset_ = scratch_bytes_;
    size_t bytes = sizeof(float);
    for (const int64_t size : plan.x_used) bytes *= static_cast<size_t>(size);
    scratch_bytes_ += (bytes + 63) / 64 * 64;
    const Shape dense = onednn::row_major(plan.x_used);
    Shape apart = onednn::row_major(plan.x);
    for (size_t d = 0; d < apart.size(); d++) apart[d] *= plan.x_steps[d];
    if (is_result) scatter_.emplace(plan.x_used, dense, 0, apart, 0, sizeof(float));
    else gather_.emplace(plan.x_used, apart, 0, dense, 0, sizeof(float));
  }

  size_t inputs_[2];
  Reordered operands_[2], result_;
  Memory scratchpad_;
  dnnl::primitive primitive_;
  std::unordered_map<int, Memory> arguments_;
  size_t scratch_bytes_ = 0;
  size_t grid_offset_ = 0;
  std::optional<StridedCopy> gather_, scatter_;
  size_t zeroed_bytes_ = 0;  // of a result that is written in part only
};

// Nothing goes in or nothing comes out.
std::unique_ptr<Kernel> make_zero(const NodeSpec& spec) {
  const size_t bytes = spec.outputs[0].bytes();
  return make_kernel([=](const void* const*, void* const* outputs, RunContext&) {
    if (bytes) std::memset(outputs[0], 0, bytes);
  });
}

bool is_empty(const NodeSpec& spec) {
  if (spec.outputs[0].numel() == 0) return true;
  for (const TensorType& input : spec.inputs)
    if (input.numel() == 0) return true;
  return false;
}

template <bool depthwise>
std::unique_ptr<Kernel> make_forward(const NodeSpec& spec) {
  const size_t x = input_index(spec, "x"), filter = input_index(spec, "filter");
  if (is_empty(spec)) return make_zero(spec);
  const ConvPlan plan = plan_of(spec, spec.inputs[x].shape, spec.inputs[filter].shape, spec.outputs[0].shape, depthwise);
  return std::make_unique<Convolution>(plan, Direction::forward, x, filter);
}

template <bool depthwise>
std::unique_ptr<Kernel> make_input_gradient(const NodeSpec& spec) {
  const size_t dy = input_index(spec, "dy"), filter = input_index(spec, "filter");
  if (is_empty(spec)) return make_zero(spec);
  const ConvPlan plan = plan_of(spec, spec.outputs[0].shape, spec.inputs[filter].shape, spec.inputs[dy].shape, depthwise);
  return std::make_unique<Convolution>(plan, Direction::input_gradient, dy, filter);
}

template <bool depthwise>
std::unique_ptr<Kernel> make_filter_gradient(const NodeSpec& spec) {
  const size_t x = input_index(spec, "x"), dy = input_index(spec, "dy");
  if (is_empty(spec)) return make_zero(spec);
  const ConvPlan plan = plan_of(spec, spec.inputs[x].shape, spec.outputs[0].shape, spec.inputs[dy].shape, depthwise);
  return std::make_unique<Convolution>(plan, Direction::filter_gradient, x, dy);
}

}  // namespace

void register_conv_kernels() {
  register_kernel("Conv2D", make_forward<false>);
  register_kernel("Conv2DBackpropInput", make_input_gradient<false>);
  register_kernel("Conv2DBackpropFilter", make_filter_gradient<false>);
  register_kernel("DepthwiseConv2dNative", make_forward<true>);
  register_kernel("DepthwiseConv2dNativeBackpropInput", make_input_gradient<true>);
  register_kernel("DepthwiseConv2dNativeBackpropFilter", make_filter_gradient<true>);
  register_kernel("Conv3D", make_forward<false>);
  register_kernel("Conv3DBackpropInputV2", make_input_gradient<false>);
  register_kernel("Conv3DBackpropFilterV2", make_filter_gradient<false>);
}

}  // namespace merak
