// OneHot, Range, LinSpace, Diag, MatrixBandPart, SearchSorted and its kin on CUDA.
#include "ops/cpu/lookup_plan.h"  // plan_search
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

CUfunction entry(Device& device, const char* name, DType result, DType a = DType::f32, DType b = DType::f32) {
  for (const DType dtype : {result, a, b}) require(!is_half(dtype) && dtype != DType::i8, "only float32, int32 and bool");
  return device.function("generate", name, {define("Y", result), define("LEFT", a), define("RIGHT", b)});
}

std::unique_ptr<Kernel> make_one_hot(const NodeSpec& spec, Device& device) {
  const TensorType& y = spec.outputs.at(0);
  require(spec.inputs.at(0).dtype == DType::i32, "indices must be int32");
  const int64_t depth = spec.attrs.integer("depth"), total = y.numel();
  const double on = spec.attrs.number("onValue", 1), off = spec.attrs.number("offValue", 0);
  require(total == spec.inputs[0].numel() * depth, "the output shape does not fit depth");
  const CUfunction function = entry(device, "one_hot", y.dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(total, 256)}, {256}, 0, stream_of(context), {&in[0], &out[0], &depth, &on, &off, &total});
  });
}

std::unique_ptr<Kernel> make_progression(const NodeSpec& spec, Device& device) {
  const double start = spec.attrs.number("start"), stop = spec.attrs.number("stop");
  double step = spec.kernel == "LinSpace" ? (stop - start) / (spec.attrs.number("num") - 1) : spec.attrs.number("step", 1);
  if (spec.kernel == "Range" && stop < start && step == 1) step = -1;
  const int64_t count = spec.outputs.at(0).numel();
  const CUfunction function = entry(device, "progression", spec.outputs[0].dtype);
  return make_kernel([=, &device](const void* const*, void* const* out, RunContext& context) {
    if (count > 0) device.launch(function, {1}, {1}, 0, stream_of(context), {&out[0], &start, &step, &count});
  });
}

std::unique_ptr<Kernel> make_diagonal(const NodeSpec& spec, Device& device) {
  const int64_t n = spec.inputs.at(0).numel(), total = n * n;
  require(n < (int64_t{1} << 31) && spec.outputs.at(0).numel() == total, "the output must be square");
  const CUfunction function = entry(device, "diagonal", spec.outputs[0].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(total, 256)}, {256}, 0, stream_of(context), {&in[0], &out[0], &n, &total});
  });
}

std::unique_ptr<Kernel> make_band_part(const NodeSpec& spec, Device& device) {
  const size_t x_at = input_index(spec, "input"), lower = input_index(spec, "numLower"), upper = input_index(spec, "numUpper");
  const TensorType& x = spec.inputs[x_at];
  require(x.shape.size() >= 2, "the input must have two dims");
  require(spec.inputs[lower].numel() == 1 && spec.inputs[upper].numel() == 1, "numLower and numUpper must be scalars");
  const int64_t columns = x.shape.back(), rows = x.shape[x.shape.size() - 2], total = x.numel();
  const CUfunction function = entry(device, "band_part", x.dtype, spec.inputs[lower].dtype, spec.inputs[upper].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(total, 256)}, {256}, 0, stream_of(context), {&in[x_at], &in[lower], &in[upper], &out[0], &rows, &columns, &total});
  });
}

std::unique_ptr<Kernel> make_search(const NodeSpec& spec, Device& device) {
  const SearchPlan plan = plan_search(spec);
  const int after_equals = plan.after_equals;
  const CUfunction function = entry(device, "search_sorted", DType::i32, spec.inputs[plan.sorted].dtype, spec.inputs[plan.values].dtype);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(plan.total, 256)}, {256}, 0, stream_of(context),
                  {&in[plan.sorted], &in[plan.values], &out[0], &plan.length, &plan.count, &after_equals, &plan.total});
  });
}

}  // namespace

void register_cuda_generators() {
  register_cuda_kernel("OneHot", make_one_hot);
  for (const char* name : {"Range", "LinSpace"}) register_cuda_kernel(name, make_progression);
  register_cuda_kernel("Diag", make_diagonal);
  register_cuda_kernel("MatrixBandPart", make_band_part);
  for (const char* name : {"SearchSorted", "LowerBound", "UpperBound"}) register_cuda_kernel(name, make_search);
}

}  // namespace merak
