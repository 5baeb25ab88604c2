// Sum, Mean, Max, Min, Prod, All, Any, alone and behind a chain; Softmax and LogSoftmax. Other dims than the last or the first come to lie so by a copy.
#include "ops/cpu/shape.h"
#include "ops/cuda/copy.h"
#include "ops/cuda/elementwise.h"
#include "ops/cuda/reduction.h"

namespace merak {
namespace {

using namespace cuda;

std::unique_ptr<Kernel> make_reduce(const NodeSpec& spec, Device& device) {
  const std::string& name = spec.kernel;
  const TensorType &x = spec.inputs.at(0), &y = spec.outputs.at(0);
  const ReductionLayout layout(x, reduction_axes(spec, name == "Max" ? "reductionIndices" : "axis", x.shape.size()));
  require(!is_half(x.dtype) && x.dtype != DType::i8, "only float32, int32 and bool are reduced");
  const std::string work = x.dtype == DType::i32 || y.dtype == DType::i32 ? "double" : "float";
  const DeviceReduction reduction(device, name, layout, y.dtype, work, [&](const char* entry, DeviceReduction::Macros macros) {
    macros.push_back(define("X", x.dtype));
    return device.function("reduce", entry, macros);
  });
  std::optional<DeviceCopy> copy;
  if (layout.copy) copy.emplace(device, *layout.copy);
  const size_t copied = layout.copy ? rounded_up(x.bytes()) : 0;
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        const void* from = in[0];
        if (copy) {
          copy->run(in[0], context.scratch, stream);
          from = context.scratch;
        }
        reduction.run(&from, out[0], at(context.scratch, copied), stream);
      },
      copied + reduction.scratch_bytes());
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

namespace cuda {

std::string reduced_chain_source(const Chain& chain) { return chain_reader(chain) + "#include \"device/reduction.cuh\"\n"; }

std::unique_ptr<Kernel> make_reduced_chain(const NodeSpec& spec, Device& device) {
  const PlacedChain placed = chain_of(spec);
  const std::string name = spec.attrs.text("reduction", "");
  require(name == "Sum" || name == "Mean" || name == "Max" || name == "Min", "the reduction must be Sum, Mean, Max or Min");
  require(placed.chain.result == DType::f32, "only float32 is reduced behind a chain");
  const ReductionLayout layout({DType::f32, placed.chain.shape}, reduction_axes(spec, "axes", placed.chain.shape.size()));
  require(!layout.copy, "the reduced dims must be neighbours");
  const std::string text = reduced_chain_source(placed.chain);
  const DeviceReduction reduction(device, name, layout, DType::f32, work_of(placed.chain), [&](const char* entry, const DeviceReduction::Macros& macros) {
    return device.function_of_text(text, entry, macros);
  });
  require(spec.outputs.at(0).numel() == layout.outer * layout.inner, "the result does not fit the reduction");
  const std::vector<size_t> places = placed.places;
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        ChainInputs inputs{};
        for (size_t k = 0; k < places.size(); k++) inputs.x[k] = in[places[k]];
        reduction.run(&inputs, out[0], context.scratch, stream_of(context));
      },
      reduction.scratch_bytes());
}

}  // namespace cuda

void register_cuda_reductions() {
  for (const char* name : {"Sum", "Mean", "Max", "Min", "Prod", "All", "Any"}) register_cuda_kernel(name, make_reduce);
  register_cuda_kernel("Softmax", make_softmax);
  register_cuda_kernel("LogSoftmax", make_softmax);
}

}  // namespace merak
