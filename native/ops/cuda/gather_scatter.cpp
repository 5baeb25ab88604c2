// Kernels that read or write places given by indices on CUDA: GatherV2, GatherNd, ScatterNd, TensorScatterUpdate, SparseToDense,
// UnsortedSegmentSum. An index outside is noted in the step, whose end names it.
#include <limits>  // int

#include "ops/cpu/lookup_plan.h"  // plan_gather
#include "ops/cpu/shape.h"        // product
#include "ops/cuda/chain.h"
#include "ops/cuda/scatter.h"

namespace merak {
namespace {

using namespace cuda;

// Bytes travel as elements of their size.
const char* carrier(DType dtype) { return size_of(dtype) == 4 ? "u32" : size_of(dtype) == 2 ? "u16" : "u8"; }

int narrow(int64_t size) {
  require(size < std::numeric_limits<int>::max(), "a dim is too large");
  return static_cast<int>(size);
}

// The launch of gather.cu's `gather`.
struct Gather {
  Device* device;
  CUfunction function;
  int64_t batch, outer, count, width;
  int dim;

  Gather(Device& on, DType dtype, int64_t batch_, int64_t outer_, int64_t dim_, int64_t count_, int64_t width_)
      : device(&on), function(on.function("gather", "gather", {define("ELEMENT", std::string(carrier(dtype)))})), batch(batch_), outer(outer_), count(count_), width(width_), dim(narrow(dim_)) {}
  void run(const void* x, const void* ids, void* out, const RunContext& context) const {
    const int64_t total = batch * outer * count * width;
    device->launch(function, {blocks_for(total, 256)}, {256}, 0, stream_of(context), {&x, &ids, &out, &outer, &dim, &count, &width, &total, &context.device_step});
  }
};

std::unique_ptr<Kernel> make_gather(const NodeSpec& spec, Device& device) {
  const GatherPlan plan = plan_gather(spec);
  const Gather gather(device, spec.inputs[plan.x].dtype, plan.batch, plan.outer, plan.dim, plan.count, plan.slice);
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) { gather.run(in[plan.x], in[plan.indices], out[0], context); });
}

// Rows of an index matrix [rows, depth] as flat row numbers of the leading dims of `shape`.
struct FlatRows {
  struct Dims {
    int rank, sizes[8];
  } dims{};
  Device* device;
  CUfunction function;
  int64_t rows, num_slices = 1, slice;

  FlatRows(Device& on, const TensorType& indices, int64_t depth, const Shape& shape) : device(&on) {
    require(indices.dtype == DType::i32, "indices must be int32");
    require(depth <= static_cast<int64_t>(shape.size()) && depth <= 8, "indices name more dims than the tensor has");
    dims.rank = static_cast<int>(depth);
    for (size_t d = 0; d < static_cast<size_t>(depth); d++) {
      dims.sizes[d] = narrow(shape[d]);
      num_slices *= shape[d];
    }
    narrow(num_slices);
    slice = product(shape, static_cast<size_t>(depth), shape.size());
    rows = depth == 0 ? product(indices.shape, 0, indices.shape.size() - 1) : indices.numel() / depth;
    function = on.function("gather", "flatten_indices", {define("ELEMENT", "u32")});
  }
  size_t bytes() const { return rounded_up(static_cast<size_t>(rows) * sizeof(int)); }
  void run(const void* indices, void* flat, const RunContext& context) const {
    device->launch(function, {blocks_for(rows, 256)}, {256}, 0, stream_of(context), {&indices, &flat, &dims, &rows, &context.device_step});
  }
};

// Scattering reads indices of rank 1 as a column.
int64_t scatter_depth(const TensorType& indices) { return indices.shape.size() > 1 ? indices.shape.back() : 1; }

std::unique_ptr<Kernel> make_gather_nd(const NodeSpec& spec, Device& device) {
  const size_t params = input_index(spec, "params"), indices = input_index(spec, "indices");
  require(!spec.inputs[indices].shape.empty(), "indices must have a dim");
  const FlatRows rows(device, spec.inputs[indices], spec.inputs[indices].shape.back(), spec.inputs[params].shape);
  const Gather gather(device, spec.inputs[params].dtype, 1, 1, rows.num_slices, rows.rows, rows.slice);
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        rows.run(in[indices], context.scratch, context);
        gather.run(in[params], context.scratch, out[0], context);
      },
      rows.bytes());
}

// What the result is before anything is scattered: zeros, a copy of a tensor, or one number everywhere.
std::unique_ptr<Kernel> make_scatter(const NodeSpec& spec, Device& device) {
  const bool adds = spec.kernel == "ScatterNd", is_sparse = spec.kernel == "SparseToDense";
  const size_t indices = input_index(spec, is_sparse ? "sparseIndices" : "indices"), updates = input_index(spec, is_sparse ? "sparseValues" : "updates");
  const TensorType &y = spec.outputs.at(0), &values = spec.inputs[updates];
  const FlatRows rows(device, spec.inputs[indices], scatter_depth(spec.inputs[indices]), y.shape);
  require(!is_sparse || rows.slice == 1, "indices must name single elements");
  const bool one_for_all = !adds && values.shape.empty();
  require(values.dtype == y.dtype && (one_for_all || values.numel() == rows.rows * rows.slice), "updates do not fit indices and shape");
  const DeviceScatter scatter(device, y.dtype, !adds, rows.rows, rows.num_slices, rows.slice);
  const size_t bytes = y.bytes();
  const size_t start = adds ? 0 : input_index(spec, is_sparse ? "defaultValue" : "tensor");
  std::shared_ptr<DeviceChain> fill;
  if (is_sparse) {
    require(spec.inputs[start].numel() == 1 && spec.inputs[start].dtype == y.dtype, "the default must be one value of the result's dtype");
    fill = std::make_shared<DeviceChain>(device, Chain{{y.numel()}, {{y.dtype, {0}}}, {{"Identity", {0}, {}}}, y.dtype});
  }
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        if (adds) set_zero(out[0], bytes, stream);
        else if (fill) fill->run(&in[start], out[0], stream);
        else copy_bytes(in[start], out[0], bytes, stream);
        rows.run(in[indices], context.scratch, context);
        scatter.run(in[updates], context.scratch, out[0], at(context.scratch, rows.bytes()), stream, 0, one_for_all);
      },
      rows.bytes() + scatter.scratch_bytes());
}

// Rows of one id are summed in order; ids outside [0, numSegments) are dropped, as tfjs.
std::unique_ptr<Kernel> make_segment_sum(const NodeSpec& spec, Device& device) {
  const size_t x_at = input_index(spec, "x"), ids_at = input_index(spec, "segmentIds");
  const TensorType &x = spec.inputs[x_at], &ids = spec.inputs[ids_at], &y = spec.outputs.at(0);
  require(ids.dtype == DType::i32 && y.dtype == x.dtype, "segmentIds must be int32, the result of the input's dtype");
  require(ids.shape.size() == 1 && !x.shape.empty() && ids.shape[0] == x.shape[0], "segmentIds must match the first dim of x");
  const DeviceScatter scatter(device, x.dtype, false, x.shape[0], spec.attrs.integer("numSegments"), product(x.shape, 1, x.shape.size()));
  const size_t bytes = y.bytes();
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        set_zero(out[0], bytes, stream_of(context));
        scatter.run(in[x_at], in[ids_at], out[0], context.scratch, stream_of(context));
      },
      scatter.scratch_bytes());
}

}  // namespace

void register_cuda_gather_scatter() {
  register_cuda_kernel("GatherV2", make_gather);
  register_cuda_kernel("GatherNd", make_gather_nd);
  for (const char* name : {"ScatterNd", "TensorScatterUpdate", "SparseToDense"}) register_cuda_kernel(name, make_scatter);
  register_cuda_kernel("UnsortedSegmentSum", make_segment_sum);
}

}  // namespace merak
