// Convolutions and their gradients on CUDA, in two and three dims: cuDNN's where it is there and takes them, else, and for depthwise ones,
// our own: products whose operands are found on the way. What few tiles have to sum is cut into pieces, joined in order by a second launch.
#include <algorithm>  // clamp
#include <optional>   // the join

#include "ops/cuda/cudnn_conv.h"
#include "ops/cuda/window.h"

namespace merak {
namespace {

using namespace cuda;

// How many blocks fill a card; more pieces than blocks only cost memory.
constexpr int64_t kEnoughBlocks = 264, kMostPieces = 64;

struct Geometry {
  Window on_host;
  MerakWindow window;
  int64_t x_pixels, y_pixels, taps, in, out;

  Geometry(const NodeSpec& spec, const Shape& x, const Shape& filter, const Shape& y, bool depthwise) {
    require((x.size() == 4 || x.size() == 5) && filter.size() == x.size() && y.size() == x.size(), "a convolution needs tensors of rank 4 or 5");
    for (const TensorType& input : spec.inputs) require(input.dtype == DType::f32, "only float32 tensors");
    require(spec.outputs[0].dtype == DType::f32, "only float32 tensors");
    const size_t n = x.size() - 2;
    in = x[n + 1];
    out = filter[n + 1];
    require(x[0] == y[0] && filter[n] == in && y[n + 1] == (depthwise ? in * out : out), "batch or channels do not fit");
    // A window knows no channels of its own.
    Shape from = x, to = y;
    from.back() = to.back() = 1;
    const Window own = on_host = window_of(spec, from, to, {filter.begin(), filter.end() - 2});
    window = device_window(own, in);
    x_pixels = own.batch * own.in_pixels();
    y_pixels = own.batch * own.out_pixels();
    taps = own.filter[0] * own.filter[1] * own.filter[2];
    const auto is_int = [](int64_t size) { return size < (int64_t{1} << 31); };
    require(is_int(x_pixels) && is_int(y_pixels) && is_int(taps * in * out), "too many pixels");
  }
};

// The summed dim in pieces, and the launch that joins their results [pieces, count].
struct Pieces {
  int64_t number = 1, piece;
  CUfunction join = nullptr;

  Pieces(Device& device, int64_t blocks, int64_t depth, int64_t least, int64_t unit) {
    number = std::clamp<int64_t>(std::min(depth / least, kEnoughBlocks / std::max<int64_t>(1, blocks)), 1, kMostPieces);
    piece = ((depth + number - 1) / number + unit - 1) / unit * unit;
    number = std::max<int64_t>(1, (depth + piece - 1) / piece);
    if (number > 1)
      join = device.function("reduce", "reduce_columns", {define("X", DType::f32), define("Y", DType::f32), define("WORK", "float"), define("OP", "op_Sum"), define("IDENTITY", "0")});
  }
  size_t scratch_bytes(int64_t count) const { return number > 1 ? static_cast<size_t>(number * count) * sizeof(float) : 0; }
  void run(Device& device, const void* parts, void* out, int64_t count, CUstream stream) const {
    if (!join) return;
    const float scale = 1;
    device.launch(join, {blocks_for(count, 32)}, {256}, 0, stream, {&parts, &out, &number, &count, &number, &scale});
  }
};

// `precision` marks what may be computed in fewer bits (src/graph/passes); our own kernel computes it in float32 all the same.
std::unique_ptr<Kernel> make_cudnn(const NodeSpec& spec, Device& device, Direction direction, const Geometry& g, size_t first, size_t second) {
  const std::string precision = spec.attrs.text("precision", "f32");
  const DType operands = precision == "bf16" ? DType::bf16 : precision == "f16" ? DType::f16 : DType::f32;
  return make_cudnn_convolution(device, {direction, g.on_host, g.in, g.out, spec.outputs[0].shape.size() - 2, operands, precision == "tf32", first, second});
}

std::unique_ptr<Kernel> make_product(Device& device, Direction direction, const Geometry& g, size_t first, size_t second) {
  const int64_t rows = direction == kForward ? g.y_pixels : direction == kInputGradient ? g.x_pixels : g.taps * g.in;
  const int64_t columns = direction == kInputGradient ? g.in : g.out;
  const int64_t depth = direction == kForward ? g.taps * g.in : direction == kInputGradient ? g.taps * g.out : g.y_pixels;
  require(rows < (int64_t{1} << 31) && depth < (int64_t{1} << 31), "too many pixels");
  const unsigned across = blocks_for(rows, 128), down = blocks_for(columns, 64);
  const Pieces pieces(device, static_cast<int64_t>(across) * down, depth, 512, 16);
  const CUfunction function = device.function("conv", "convolve", {define("DIRECTION", direction)});
  const int64_t count = rows * columns;
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        void* to = pieces.join ? context.scratch : out[0];
        const int r = static_cast<int>(rows), c = static_cast<int>(columns), d = static_cast<int>(depth), piece = static_cast<int>(pieces.piece), filters = static_cast<int>(g.out);
        device.launch(function, {across, down, static_cast<unsigned>(pieces.number)}, {256}, 0, stream_of(context),
                      {&in[first], &in[second], &to, &g.window, &r, &c, &d, &piece, &filters});
        pieces.run(device, to, out[0], count, stream_of(context));
      },
      pieces.scratch_bytes(count));
}

std::unique_ptr<Kernel> make_depthwise(Device& device, Direction direction, const Geometry& g, size_t first, size_t second) {
  const int multiplier = static_cast<int>(g.out);
  if (direction != kFilterGradient) {
    const int64_t count = direction == kForward ? g.y_pixels * g.in * g.out : g.x_pixels * g.in;
    const CUfunction function = device.function("depthwise", direction == kForward ? "depthwise" : "depthwise_input_grad");
    return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
      device.launch(function, {blocks_for(count, 256)}, {256}, 0, stream_of(context), {&in[first], &in[second], &out[0], &g.window, &multiplier, &count});
    });
  }
  const int64_t made = g.in * g.out, count = g.taps * made;
  const unsigned across = blocks_for(made, 32);
  const Pieces pieces(device, across * g.taps, g.y_pixels, 256, 8);
  require(g.taps < 65536, "too large a filter");
  const CUfunction function = device.function("depthwise", "depthwise_filter_grad");
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        void* to = pieces.join ? context.scratch : out[0];
        device.launch(function, {across, static_cast<unsigned>(g.taps), static_cast<unsigned>(pieces.number)}, {256}, 0, stream_of(context),
                      {&in[first], &in[second], &to, &g.window, &multiplier, &g.y_pixels, &pieces.piece});
        pieces.run(device, to, out[0], count, stream_of(context));
      },
      pieces.scratch_bytes(count));
}

template <Direction direction, bool depthwise>
std::unique_ptr<Kernel> make_convolution(const NodeSpec& spec, Device& device) {
  const size_t first = input_index(spec, direction == kInputGradient ? "dy" : "x"), second = input_index(spec, direction == kFilterGradient ? "dy" : "filter");
  const TensorType& result = spec.outputs.at(0);
  bool is_empty = result.numel() == 0;
  for (const TensorType& input : spec.inputs) is_empty = is_empty || input.numel() == 0;
  if (is_empty) {
    const size_t bytes = result.bytes();
    return make_kernel([=](const void* const*, void* const* out, RunContext& context) { set_zero(out[0], bytes, stream_of(context)); });
  }
  const Shape &a = spec.inputs[first].shape, &b = spec.inputs[second].shape, &made = result.shape;
  const Geometry geometry(spec, direction == kInputGradient ? made : a, direction == kFilterGradient ? made : b,
                          direction == kForward ? made : direction == kInputGradient ? a : b, depthwise);
  if (depthwise) return make_depthwise(device, direction, geometry, first, second);
  if (auto kernel = make_cudnn(spec, device, direction, geometry, first, second)) return kernel;
  return make_product(device, direction, geometry, first, second);
}

}  // namespace

void register_cuda_convolutions() {
  for (const char* name : {"Conv2D", "Conv3D"}) register_cuda_kernel(name, make_convolution<kForward, false>);
  for (const char* name : {"Conv2DBackpropInput", "Conv3DBackpropInputV2"}) register_cuda_kernel(name, make_convolution<kInputGradient, false>);
  for (const char* name : {"Conv2DBackpropFilter", "Conv3DBackpropFilterV2"}) register_cuda_kernel(name, make_convolution<kFilterGradient, false>);
  register_cuda_kernel("DepthwiseConv2dNative", make_convolution<kForward, true>);
  register_cuda_kernel("DepthwiseConv2dNativeBackpropInput", make_convolution<kInputGradient, true>);
  register_cuda_kernel("DepthwiseConv2dNativeBackpropFilter", make_convolution<kFilterGradient, true>);
}

}  // namespace merak
