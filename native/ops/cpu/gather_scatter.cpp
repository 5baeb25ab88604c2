// Kernels that read or write places given by indices: GatherV2, GatherNd, ScatterNd, TensorScatterUpdate, UnsortedSegmentSum.
#include <cstring>  // memcpy, memset

#include "ops/cpu/lookup_plan.h"
#include "ops/cpu/make_kernel.h"
#include "ops/cpu/numeric.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shape.h"

namespace merak {
namespace {

[[noreturn]] void out_of_range(int64_t index, int64_t size) {
  throw std::runtime_error("index " + std::to_string(index) + " is not in [0, " + std::to_string(size) + ")");
}

std::unique_ptr<Kernel> make_gather(const NodeSpec& spec) {
  const GatherPlan plan = plan_gather(spec);
  const int64_t num_indices = plan.batch * plan.count, slice_bytes = plan.slice * static_cast<int64_t>(size_of(spec.inputs[plan.x].dtype));
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* index = static_cast<const int32_t*>(in[plan.indices]);
    for (int64_t i = 0; i < num_indices; i++)
      if (index[i] < 0 || index[i] >= plan.dim) out_of_range(index[i], plan.dim);
    parallel_for(plan.batch * plan.outer * plan.count, kParallelGrain / std::max<int64_t>(1, plan.slice), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / plan.count;  // over batch and outer
        const int64_t from = row * plan.dim + index[(row / plan.outer) * plan.count + i % plan.count];
        std::memcpy(bytes_at(out[0], i * slice_bytes), bytes_at(in[plan.x], from * slice_bytes), static_cast<size_t>(slice_bytes));
      }
    });
  });
}

// The flat slice number that row `row` of an index matrix [rows, depth] names in `shape`.
struct IndexRows {
  Shape dims;           // the leading dims of `shape` that are indexed
  Shape strides;        // in slices
  int64_t num_rows, slice;

  int64_t operator()(const int32_t* indices, int64_t row) const {
    int64_t flat = 0;
    for (size_t d = 0; d < dims.size(); d++) {
      const int64_t index = indices[row * static_cast<int64_t>(dims.size()) + static_cast<int64_t>(d)];
      if (index < 0 || index >= dims[d]) out_of_range(index, dims[d]);
      flat += index * strides[d];
    }
    return flat;
  }
};

IndexRows index_rows(const TensorType& indices, size_t depth, const Shape& shape) {
  require(indices.dtype == DType::i32, "indices must be int32");
  require(depth <= shape.size(), "indices name more dims than the tensor has");
  IndexRows rows;
  rows.dims.assign(shape.begin(), shape.begin() + static_cast<int64_t>(depth));
  rows.strides = strides_of(rows.dims);
  rows.slice = product(shape, depth, shape.size());
  rows.num_rows = depth == 0 ? product(indices.shape, 0, indices.shape.size() - 1) : indices.numel() / static_cast<int64_t>(depth);
  return rows;
}

// Scattering reads indices of rank 1 as a column.
size_t scatter_depth(const TensorType& indices) {
  return indices.shape.size() > 1 ? static_cast<size_t>(indices.shape.back()) : 1;
}

std::unique_ptr<Kernel> make_gather_nd(const NodeSpec& spec) {
  const size_t params_at = input_index(spec, "params"), indices_at = input_index(spec, "indices");
  const TensorType& indices_type = spec.inputs[indices_at];
  require(!indices_type.shape.empty(), "indices must have a dim");
  const IndexRows rows = index_rows(indices_type, static_cast<size_t>(indices_type.shape.back()), spec.inputs[params_at].shape);
  const int64_t slice_bytes = rows.slice * static_cast<int64_t>(size_of(spec.inputs[params_at].dtype));
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* indices = static_cast<const int32_t*>(in[indices_at]);
    for (int64_t row = 0; row < rows.num_rows; row++)
      std::memcpy(bytes_at(out[0], row * slice_bytes), bytes_at(in[params_at], rows(indices, row) * slice_bytes),
                  static_cast<size_t>(slice_bytes));
  });
}

void add_slice(DType dtype, const void* from, int64_t from_at, void* to, int64_t to_at, int64_t n) {
  if (dtype == DType::f32) {
    const float* a = static_cast<const float*>(from) + from_at;
    float* b = static_cast<float*>(to) + to_at;
    for (int64_t i = 0; i < n; i++) b[i] += a[i];
  } else {
    for (int64_t i = 0; i < n; i++)
      store_number(dtype, to, to_at + i, load_number(dtype, to, to_at + i) + load_number(dtype, from, from_at + i));
  }
}

// Rows land one after another, so duplicates add up in a fixed order.
std::unique_ptr<Kernel> make_scatter_nd(const NodeSpec& spec) {
  const size_t indices_at = input_index(spec, "indices"), updates_at = input_index(spec, "updates");
  const TensorType& y = spec.outputs.at(0);
  const IndexRows rows = index_rows(spec.inputs[indices_at], scatter_depth(spec.inputs[indices_at]), y.shape);
  require(spec.inputs[updates_at].numel() == rows.num_rows * rows.slice, "updates do not fit indices and shape");
  const DType dtype = y.dtype;
  const size_t bytes = y.bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* indices = static_cast<const int32_t*>(in[indices_at]);
    std::memset(out[0], 0, bytes);
    for (int64_t row = 0; row < rows.num_rows; row++)
      add_slice(dtype, in[updates_at], row * rows.slice, out[0], rows(indices, row) * rows.slice, rows.slice);
  });
}

std::unique_ptr<Kernel> make_scatter_update(const NodeSpec& spec) {
  const size_t tensor_at = input_index(spec, "tensor");
  const size_t indices_at = input_index(spec, "indices"), updates_at = input_index(spec, "updates");
  const TensorType& y = spec.outputs.at(0);
  const IndexRows rows = index_rows(spec.inputs[indices_at], scatter_depth(spec.inputs[indices_at]), y.shape);
  const bool one_for_all = spec.inputs[updates_at].shape.empty();
  require(one_for_all || spec.inputs[updates_at].numel() == rows.num_rows * rows.slice, "updates do not fit indices and tensor");
  const int64_t element = static_cast<int64_t>(size_of(y.dtype)), slice_bytes = rows.slice * element;
  const size_t bytes = y.bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* indices = static_cast<const int32_t*>(in[indices_at]);
    std::memcpy(out[0], in[tensor_at], bytes);
    for (int64_t row = 0; row < rows.num_rows; row++) {
      uint8_t* to = bytes_at(out[0], rows(indices, row) * slice_bytes);
      if (one_for_all) {
        for (int64_t i = 0; i < rows.slice; i++) std::memcpy(to + i * element, in[updates_at], static_cast<size_t>(element));
      } else {
        std::memcpy(to, bytes_at(in[updates_at], row * slice_bytes), static_cast<size_t>(slice_bytes));
      }
    }
  });
}

// x [segments of dim 0.., slice]: rows with the same id are summed in order; ids outside [0, numSegments) are dropped, as tfjs.
std::unique_ptr<Kernel> make_segment_sum(const NodeSpec& spec) {
  const size_t x_at = input_index(spec, "x"), ids_at = input_index(spec, "segmentIds");
  const TensorType &x = spec.inputs[x_at], &ids = spec.inputs[ids_at], &y = spec.outputs.at(0);
  require(ids.dtype == DType::i32, "segmentIds must be int32");
  require(ids.shape.size() == 1 && !x.shape.empty() && ids.shape[0] == x.shape[0], "segmentIds must match the first dim of x");
  const int64_t num_rows = x.shape[0], slice = product(x.shape, 1, x.shape.size());
  const int64_t num_segments = spec.attrs.integer("numSegments");
  const DType dtype = x.dtype;
  const size_t bytes = y.bytes();
  require(y.dtype == dtype, "input and output dtypes differ");
  return make_kernel([=](const void* const* in, void* const* out, RunContext&) {
    const int32_t* id = static_cast<const int32_t*>(in[ids_at]);
    std::memset(out[0], 0, bytes);
    for (int64_t row = 0; row < num_rows; row++)
      if (id[row] >= 0 && id[row] < num_segments) add_slice(dtype, in[x_at], row * slice, out[0], id[row] * slice, slice);
  });
}

}  // namespace

void register_gather_scatter_kernels() {
  register_kernel("GatherV2", make_gather);
  register_kernel("GatherNd", make_gather_nd);
  register_kernel("ScatterNd", make_scatter_nd);
  register_kernel("TensorScatterUpdate", make_scatter_update);
  register_kernel("UnsortedSegmentSum", make_segment_sum);
}

}  // namespace merak
