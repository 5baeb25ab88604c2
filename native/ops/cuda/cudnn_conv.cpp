// A convolution of cuDNN and what surrounds it. Its tensors lie as ours do, channels last; its filters [out, taps, in] are ours transposed.
// It pads both sides of a dim alike: where that gives another output, x is put in a larger frame first (and its gradient taken out of one).
#include "ops/cuda/cudnn_conv.h"

#include <algorithm>   // clamp
#include <array>       // sides
#include <functional>  // moves
#include <optional>    // algorithms

#include "cuda/cudnn.h"
#include "ops/cpu/shape.h"  // numel

namespace merak::cuda {
namespace {

using Ints = std::vector<int>;

constexpr size_t kMostWorkspace = size_t{256} << 20;
constexpr int kMostAlgorithms = 16;

struct Frame {
  int image[3], frame[3], before[3], channels;
};

// How x lies for cuDNN.
struct Padded {
  Triple size, before{0, 0, 0};  // of the frame; places before the image in it
  Triple pad;                    // what cuDNN pads on both sides of the frame
  bool is_framed = false;
};

Padded padded(const Window& w) {
  Padded p{w.in, {0, 0, 0}, w.before};
  for (size_t d = 0; d < 3; d++) {
    const int64_t extent = (w.filter[d] - 1) * w.dilation[d] + 1, room = w.in[d] + 2 * w.before[d] - extent;
    if (room >= 0 && room / w.stride[d] + 1 == w.out[d]) continue;
    // What is needed past the image: less than nothing where its end goes unread.
    const int64_t after = (w.out[d] - 1) * w.stride[d] + extent - w.in[d] - w.before[d];
    p.pad[d] = std::clamp<int64_t>(after, 0, w.before[d]);
    p.before[d] = w.before[d] - p.pad[d];
    p.size[d] = w.in[d] + p.before[d] + after - p.pad[d];
    p.is_framed = true;
  }
  return p;
}

// One descriptor, whichever kind.
class Descriptor {
 public:
  using Create = cudnnStatus_t (*)(cudnnDescriptor_t*);
  using Destroy = cudnnStatus_t (*)(cudnnDescriptor_t);
  Descriptor(Create create, Destroy destroy) : destroy_(destroy) { check(create(&handle_), "a cuDNN descriptor"); }
  ~Descriptor() { destroy_(handle_); }
  Descriptor(const Descriptor&) = delete;
  operator cudnnDescriptor_t() const { return handle_; }

 private:
  cudnnDescriptor_t handle_ = nullptr;
  Destroy destroy_;
};

cudnnDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : dtype == DType::f16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT; }

struct Descriptors {
  Descriptor x, y, filter, convolution;
  bool are_taken;  // whether cuDNN takes such tensors at all

  Descriptors(const Cudnn& c, const CudnnPlan& plan, const Padded& frame)
      : x(c.cudnnCreateTensorDescriptor, c.cudnnDestroyTensorDescriptor),
        y(c.cudnnCreateTensorDescriptor, c.cudnnDestroyTensorDescriptor),
        filter(c.cudnnCreateFilterDescriptor, c.cudnnDestroyFilterDescriptor),
        convolution(c.cudnnCreateConvolutionDescriptor, c.cudnnDestroyConvolutionDescriptor) {
    const Window& w = plan.window;
    const auto spatial = [&](const Triple& dims, Ints before = {}) {
      for (size_t d = 3 - plan.num_spatial; d < 3; d++) before.push_back(static_cast<int>(dims[d]));
      return before;
    };
    const int batch = static_cast<int>(w.batch), in = static_cast<int>(plan.in), out = static_cast<int>(plan.out), rank = static_cast<int>(plan.num_spatial) + 2;
    const cudnnDataType_t type = type_of(plan.operands);
    // The dims are named channels second, whatever the format.
    const Ints from = spatial(frame.size, {batch, in}), to = spatial(w.out, {batch, out}), taps = spatial(w.filter, {out, in});
    const Ints pads = spatial(frame.pad), strides = spatial(w.stride), dilations = spatial(w.dilation);
    const cudnnMathType_t math = plan.operands != DType::f32 ? CUDNN_TENSOR_OP_MATH : plan.tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
    are_taken = c.cudnnSetTensorNdDescriptorEx(x, CUDNN_TENSOR_NHWC, type, rank, from.data()) == CUDNN_STATUS_SUCCESS &&
                c.cudnnSetTensorNdDescriptorEx(y, CUDNN_TENSOR_NHWC, type, rank, to.data()) == CUDNN_STATUS_SUCCESS &&
                c.cudnnSetFilterNdDescriptor(filter, type, CUDNN_TENSOR_NHWC, rank, taps.data()) == CUDNN_STATUS_SUCCESS &&
                c.cudnnSetConvolutionNdDescriptor(convolution, rank - 2, pads.data(), strides.data(), dilations.data(), CUDNN_CROSS_CORRELATION,
                                                  CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS &&
                c.cudnnSetConvolutionMathType(convolution, math) == CUDNN_STATUS_SUCCESS;
  }
};

// The functions of a direction and the order of its operands.
struct Calls {
  decltype(Cudnn::forward_algorithms) algorithms;
  decltype(Cudnn::forward_workspace) workspace;
  decltype(Cudnn::run_forward) run;
  const char* name;
};

Calls calls_of(const Cudnn& c, Direction direction) {
  switch (direction) {
    case kForward: return {c.forward_algorithms, c.forward_workspace, c.run_forward, "cudnnConvolutionForward"};
    case kInputGradient: return {c.data_algorithms, c.data_workspace, c.run_data, "cudnnConvolutionBackwardData"};
    default: return {c.filter_algorithms, c.filter_workspace, c.run_filter, "cudnnConvolutionBackwardFilter"};
  }
}

struct Algorithm {
  int number = 0;
  size_t workspace = 0;
};

using Move = std::function<void(const void* from, void* to, CUstream stream)>;

// x, y or the filter: where cuDNN has it, and how it gets there or from there; without `move` it is used where it lies.
struct Staged {
  Move move;
  size_t scratch_at = 0;
};

class CudnnConvolution final : public Kernel {
 public:
  CudnnConvolution(Device& device, const Cudnn& cudnn, const CudnnPlan& plan)
      : device_(device), cudnn_(cudnn), plan_(plan), calls_(calls_of(cudnn, plan.direction)) {
    const Padded frame = padded(plan.window);
    const int64_t batch = plan.window.batch;
    const Shape x = {batch, frame.size[0], frame.size[1], frame.size[2], plan.in};
    const Shape y = {batch, plan.window.out[0], plan.window.out[1], plan.window.out[2], plan.out};
    const int64_t taps = plan.window.filter[0] * plan.window.filter[1] * plan.window.filter[2], weights = taps * plan.in * plan.out;
    const auto is_int = [](int64_t count) { return count > 0 && count < (int64_t{1} << 31); };
    if (!is_int(numel(x)) || !is_int(numel(y)) || !is_int(weights)) return;
    const bool is_rounded = plan.operands != DType::f32;
    if (is_rounded || frame.is_framed) stage(x_, numel(x), framing(frame));
    if (is_rounded) stage(y_, numel(y), rounding(numel(y)));
    stage(filter_, weights, turning(taps * plan.in, plan.out));
    choose(frame);
    workspace_at_ = take(algorithm_ ? algorithm_->workspace : 0);
  }

  bool is_taken() const { return algorithm_.has_value(); }
  size_t scratch_bytes() const override { return scratch_; }

  void run(const void* const* in, void* const* out, RunContext& context) override {
    const CUstream stream = stream_of(context);
    const auto [first, second, result] = sides();
    const auto bring = [&](const Side& side) {
      const void* from = in[side.input];
      if (!side.staged->move) return from;
      void* to = at(context.scratch, side.staged->scratch_at);
      side.staged->move(from, to, stream);
      return static_cast<const void*>(to);
    };
    const void *a = bring(first), *b = bring(second);
    void* made = result.staged->move ? at(context.scratch, result.staged->scratch_at) : out[0];
    const float one = 1, zero = 0;
    check(cudnn_.cudnnSetStream(device_.cudnn(), stream), "cudnnSetStream");
    check(calls_.run(device_.cudnn(), &one, first.descriptor, a, second.descriptor, b, descriptors_->convolution, algorithm_->number,
                     at(context.scratch, workspace_at_), algorithm_->workspace, &zero, result.descriptor, made),
          calls_.name);
    if (result.staged->move) result.staged->move(made, out[0], stream);
  }

 private:
  size_t take(size_t bytes) {
    const size_t begin = scratch_;
    scratch_ += rounded_up(bytes);
    return begin;
  }
  void stage(Staged& operand, int64_t count, Move move) {
    operand = {std::move(move), take(static_cast<size_t>(count) * size_of(plan_.operands))};
  }

  // The number types of a move: towards cuDNN, or back where its tensor is the result.
  std::vector<std::string> types(bool is_back, int64_t vector) const {
    return {define("FROM", is_back ? plan_.operands : DType::f32), define("TO", is_back ? DType::f32 : plan_.operands), define("VECTOR", vector)};
  }

  Move framing(const Padded& padded) const {
    const bool is_back = plan_.direction == kInputGradient;
    Frame f{};
    int64_t count = plan_.window.batch * plan_.in;
    for (size_t d = 0; d < 3; d++) {
      const int64_t image = plan_.window.in[d], frame = padded.size[d], before = padded.before[d];
      f.image[d] = static_cast<int>(is_back ? frame : image);
      f.frame[d] = static_cast<int>(is_back ? image : frame);
      f.before[d] = static_cast<int>(is_back ? -before : before);
      count *= f.frame[d];
    }
    f.channels = static_cast<int>(plan_.in);
    const int64_t vector = vector_of(plan_.in);
    const CUfunction function = device_.function("frame", "frame", types(is_back, vector));
    return [&device = device_, f, function, vector, count = static_cast<unsigned>(count)](const void* from, void* to, CUstream stream) {
      device.launch(function, {blocks_for(count, 256 * vector)}, {256}, 0, stream, {&from, &to, &f, &count});
    };
  }

  Move rounding(int64_t count) const {
    const auto macros = types(plan_.direction == kForward, 1);
    const CUfunction function = device_.function("convert", "convert", {macros[0], macros[1]});
    return [&device = device_, function, count](const void* from, void* to, CUstream stream) {
      device.launch(function, {blocks_for(count, 1024)}, {256}, 0, stream, {&from, &to, &count});
    };
  }

  Move turning(int64_t taps, int64_t out) const {
    const bool is_back = plan_.direction == kFilterGradient;
    const CUfunction function = device_.function("frame", "turn", types(is_back, 1));
    const int rows = static_cast<int>(is_back ? out : taps), columns = static_cast<int>(is_back ? taps : out);
    return [&device = device_, function, rows, columns](const void* from, void* to, CUstream stream) {
      device.launch(function, {blocks_for(columns, 32), blocks_for(rows, 32)}, {256}, 0, stream, {&from, &to, &rows, &columns});
    };
  }

  // The quickest by cuDNN's reckoning of those that give the same result each time.
  void choose(const Padded& frame) {
    // On a card that is only planned there is nobody to ask: as much as it may take.
    if (!device_.is_there()) {
      algorithm_ = {0, kMostWorkspace};
      return;
    }
    const cudnnHandle_t handle = device_.cudnn();
    descriptors_ = std::make_unique<Descriptors>(cudnn_, plan_, frame);
    if (!descriptors_->are_taken) return;
    const auto [first, second, result] = sides();
    cudnnConvolutionAlgoPerf_t ways[kMostAlgorithms];
    int count = 0;
    if (calls_.algorithms(handle, first.descriptor, second.descriptor, descriptors_->convolution, result.descriptor, kMostAlgorithms, &count, ways) != CUDNN_STATUS_SUCCESS) return;
    for (int i = 0; i < std::min(count, kMostAlgorithms) && !algorithm_; i++) {
      const auto& way = ways[i];
      size_t bytes = 0;
      if (way.status != CUDNN_STATUS_SUCCESS || way.determinism != CUDNN_DETERMINISTIC) continue;
      if (calls_.workspace(handle, first.descriptor, second.descriptor, descriptors_->convolution, result.descriptor, way.algo, &bytes) != CUDNN_STATUS_SUCCESS) continue;
      if (bytes <= kMostWorkspace) algorithm_ = {way.algo, bytes};
    }
  }

  // Operands and result in cuDNN's order; `input` is the node's, of no meaning for the result.
  struct Side {
    cudnnDescriptor_t descriptor;
    const Staged* staged;
    size_t input = 0;
  };
  std::array<Side, 3> sides() const {
    const Descriptors& d = *descriptors_;
    switch (plan_.direction) {
      case kForward: return {Side{d.x, &x_, plan_.first}, {d.filter, &filter_, plan_.second}, {d.y, &y_}};
      case kInputGradient: return {Side{d.filter, &filter_, plan_.second}, {d.y, &y_, plan_.first}, {d.x, &x_}};
      default: return {Side{d.x, &x_, plan_.first}, {d.y, &y_, plan_.second}, {d.filter, &filter_}};
    }
  }

  Device& device_;
  const Cudnn& cudnn_;
  CudnnPlan plan_;
  Calls calls_;
  std::unique_ptr<Descriptors> descriptors_;
  std::optional<Algorithm> algorithm_;
  Staged x_, y_, filter_;
  size_t scratch_ = 0, workspace_at_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_cudnn_convolution(Device& device, const CudnnPlan& plan) {
  const Cudnn* library = cudnn();
  if (!library) return nullptr;
  auto kernel = std::make_unique<CudnnConvolution>(device, *library, plan);
  return kernel->is_taken() ? std::move(kernel) : nullptr;
}

}  // namespace merak::cuda
