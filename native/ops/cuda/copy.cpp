// Kernels that move elements on CUDA: what ops/cpu/layout_plan.h plans, MerakAssign, MerakAccumulate, MerakFanOut, MerakShard.
#include "ops/cuda/copy.h"

#include <algorithm>  // min
#include <cstring>    // memcpy
#include <limits>     // 32-bit sizes

#include "ops/cpu/layout_plan.h"
#include "ops/cpu/numeric.h"  // store_number
#include "ops/cpu/strided_loop.h"

namespace merak {

namespace cuda {

// As in copy.cu.
struct DeviceCopy::Table {
  int num_dims;
  uint32_t sizes[8];
  int64_t from[8], to[8];
};

DeviceCopy::DeviceCopy(Device& device, const LayoutCopy& copy) : device_(&device), table_(std::make_shared<Table>()) {
  // Merged dims, the outermost first.
  const StridedLoop<2> loop(copy.sizes, {copy.from, copy.to});
  Shape sizes = loop.outer_sizes(), from, to;
  for (const auto& strides : loop.outer_strides()) {
    from.push_back(strides[0]);
    to.push_back(strides[1]);
  }
  sizes.push_back(loop.row_length);
  from.push_back(loop.row_stride[0]);
  to.push_back(loop.row_stride[1]);
  size_t bytes = copy.element_bytes;
  int64_t from_at = copy.from_at, to_at = copy.to_at;
  // Rows that lie together on both sides move 16 bytes at a time, where everything else is a multiple of that.
  const auto divides = [&](int64_t by) {
    if (from.back() != 1 || to.back() != 1 || sizes.back() % by || from_at % by || to_at % by) return false;
    for (size_t d = 0; d + 1 < sizes.size(); d++)
      if (from[d] % by || to[d] % by) return false;
    return true;
  };
  for (; bytes < 16 && divides(2); bytes *= 2) {
    sizes.back() /= 2;
    from_at /= 2;
    to_at /= 2;
    for (size_t d = 0; d + 1 < sizes.size(); d++) {
      from[d] /= 2;
      to[d] /= 2;
    }
  }
  count_ = numel(sizes);
  from_bytes_ = from_at * static_cast<int64_t>(bytes);
  to_bytes_ = to_at * static_cast<int64_t>(bytes);
  flat_bytes_ = sizes.size() == 1 && from[0] == 1 && to[0] == 1 ? static_cast<size_t>(count_) * bytes : 0;
  if (flat_bytes_ || count_ == 0) return;
  require(sizes.size() <= 8, "too many dims");
  const char* element = bytes == 1 ? "u8" : bytes == 2 ? "u16" : bytes == 4 ? "u32" : bytes == 8 ? "uint2" : "uint4";
  // A transposed matrix, perhaps several: rows and columns change places.
  const size_t rank = sizes.size();
  if (rank >= 2 && rank <= 3 && bytes <= 4 && to[rank - 1] == 1 && to[rank - 2] == sizes[rank - 1] && from[rank - 2] == 1 &&
      from[rank - 1] == sizes[rank - 2] && (rank == 2 || (from[0] == to[0] && from[0] == sizes[1] * sizes[2] && sizes[0] < 65536)) &&
      sizes[rank - 1] / 32 < 65535) {
    rows_ = static_cast<int>(sizes[rank - 1]);
    columns_ = static_cast<int>(sizes[rank - 2]);
    batches_ = rank == 2 ? 1 : static_cast<unsigned>(sizes[0]);
    function_ = device.function("copy", "transpose", {define("ELEMENT", std::string(element))});
    return;
  }
  table_->num_dims = static_cast<int>(rank);
  for (size_t d = 0; d < rank; d++) {
    require(sizes[d] <= std::numeric_limits<uint32_t>::max(), "a dim is too large");
    table_->sizes[d] = static_cast<uint32_t>(sizes[d]);
    table_->from[d] = from[d];
    table_->to[d] = to[d];
  }
  function_ = device.function("copy", "strided_copy", {define("ELEMENT", std::string(element))});
}

void DeviceCopy::run(const void* source, void* target, CUstream stream) const {
  if (count_ == 0) return;
  const std::byte* from = static_cast<const std::byte*>(source) + from_bytes_;
  std::byte* to = static_cast<std::byte*>(target) + to_bytes_;
  if (flat_bytes_) return copy_bytes(from, to, flat_bytes_, stream);
  if (rows_)
    return device_->launch(function_, {blocks_for(columns_, 32), blocks_for(rows_, 32), batches_}, {256}, 0, stream, {&from, &to, &rows_, &columns_});
  device_->launch(function_, {std::min(blocks_for(count_, 256), 1u << 20)}, {256}, 0, stream, {&from, &to, table_.get(), &count_});
}

}  // namespace cuda

namespace {

using namespace cuda;

std::unique_ptr<Kernel> make_layout(const NodeSpec& spec, Device& device) {
  const LayoutPlan plan = plan_layout(spec);
  std::vector<DeviceCopy> copies;
  for (const LayoutCopy& copy : plan.copies) copies.emplace_back(device, copy);
  const TensorType& y = spec.outputs[0];
  uint32_t word = 0;
  store_number(y.dtype, &word, 0, plan.fill);
  require(!plan.fills || size_of(y.dtype) != 2, "bfloat16 cannot be padded");
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    const CUstream stream = stream_of(context);
    const size_t n = static_cast<size_t>(y.numel());
    if (plan.fills && n > 0 && size_of(y.dtype) == 4) check(driver().cuMemsetD32Async(address(out[0]), word, n, stream), "cuMemsetD32Async");
    else if (plan.fills && n > 0) check(driver().cuMemsetD8Async(address(out[0]), static_cast<unsigned char>(word), n, stream), "cuMemsetD8Async");
    for (size_t k = 0; k < copies.size(); k++) copies[k].run(in[plan.copies[k].input], out[plan.copies[k].output], stream);
  });
}

std::unique_ptr<Kernel> make_assign(const NodeSpec& spec, Device&) {
  require(spec.inputs[0].bytes() == spec.outputs[0].bytes(), "input and output differ in size");
  const size_t bytes = spec.inputs[0].bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) { copy_bytes(in[0], out[0], bytes, stream_of(context)); });
}

std::unique_ptr<Kernel> make_accumulate(const NodeSpec& spec, Device& device) {
  require(spec.inputs[0].dtype == DType::f32 && spec.outputs[0].dtype == DType::f32, "only float32 is accumulated");
  const int64_t n = spec.inputs[0].numel();
  require(spec.outputs[0].numel() == n, "input and output differ in size");
  const CUfunction function = device.function("convert", "accumulate", {define("FROM", DType::f32), define("TO", DType::f32)});
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    device.launch(function, {blocks_for(n, 1024)}, {256}, 0, stream_of(context), {&in[0], &out[0], &n});
  });
}

// This rank's pieces of a whole value, with zeros past its end.
std::unique_ptr<Kernel> make_shard(const NodeSpec& spec, Device& device) {
  const auto dim = static_cast<size_t>(spec.attrs.integer("dim"));
  const Shape& shape = spec.inputs[0].shape;
  require(dim < shape.size(), "dim is past the last one");
  const int64_t degree = spec.attrs.integer("degree"), index = spec.attrs.integer("index"), parts = spec.attrs.integer("parts", 1);
  const int64_t size = shape[dim], padded = spec.attrs.integer("paddedSize", size);
  require(degree > 0 && index >= 0 && index < degree, "index must be below degree");
  require(padded >= size && padded % (parts * degree) == 0, "paddedSize must divide into parts and ranks");
  require(parts == 1 || padded == size, "only a dim of one part may be padded");
  const int64_t outer = product(shape, 0, dim), inner = product(shape, dim + 1, shape.size()), piece = padded / parts / degree;
  const int64_t local = piece * parts, there = parts == 1 ? std::clamp<int64_t>(size - index * piece, 0, piece) : piece;
  const DeviceCopy copy(device, {0, 0, {outer, parts, there * inner}, {size * inner, degree * piece * inner, 1}, index * piece * inner,
                                 {local * inner, piece * inner, 1}, 0, size_of(spec.inputs[0].dtype)});
  const size_t bytes = spec.outputs[0].bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    if (there < piece) set_zero(out[0], bytes, stream_of(context));
    copy.run(in[0], out[0], stream_of(context));
  });
}

}  // namespace

void register_cuda_copies() {
  for (const std::string& name : layout_kernel_names()) register_cuda_kernel(name, make_layout);
  register_cuda_kernel("MerakAssign", make_assign);
  register_cuda_kernel("MerakFanOut", make_assign);
  register_cuda_kernel("MerakAccumulate", make_accumulate);
  register_cuda_kernel("MerakShard", make_shard);
}

}  // namespace merak
