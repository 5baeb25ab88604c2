// Collectives on CUDA: MerakAllReduce, MerakAllGather, MerakReduceScatter, those started and awaited apart, MerakWait. The communicator
// orders its work by the step's stream; whether it only enqueues is the communicator's to say.
#include <algorithm>  // min

#include "comm/communicator.h"
#include "ops/cpu/shape.h"  // product
#include "ops/cuda/copy.h"

namespace merak {
namespace {

using namespace cuda;

struct Axis {
  bool is_tp;
  explicit Axis(const NodeSpec& spec) {
    const std::string axis = spec.attrs.text("axis", "tp");
    require(axis == "tp" || axis == "dp", "axis must be 'tp' or 'dp'");
    is_tp = axis == "tp";
  }
  int group(const RunContext& context) const { return is_tp ? context.tp_group : context.dp_group; }
  int size(const RunContext& context) const { return is_tp ? context.tp_size : context.dp_size; }
  // The communicator, or null for a rank alone on the axis, which then must be all there is.
  Communicator* communicator(const RunContext& context, int64_t degree) const {
    if (!context.comm || group(context) < 0) {
      if (degree != 1) throw std::runtime_error("shards of other ranks need a communicator");
      return nullptr;
    }
    if (size(context) != degree)
      throw std::runtime_error("the plan counts " + std::to_string(degree) + " shards on an axis of " + std::to_string(size(context)) + " ranks");
    return context.comm;
  }
};

// Makes the call now, or queues it.
template <bool kStarts, class Call>
void make_call(Communicator& comm, const void* key, const Call& call) {
  if (kStarts) comm.start(key, call);
  else call(comm);
}

template <bool kStarts>
std::unique_ptr<Kernel> make_all_reduce(const NodeSpec& spec, Device&) {
  require(spec.inputs[0].dtype == DType::f32, "only float32 is reduced");
  const std::string name = spec.attrs.text("op", "sum");
  require(name == "sum" || name == "max", "op must be 'sum' or 'max'");
  const ReduceOp op = name == "sum" ? ReduceOp::sum : ReduceOp::max;
  const Axis axis(spec);
  const auto count = static_cast<size_t>(spec.inputs[0].numel());
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    copy_bytes(in[0], out[0], count * sizeof(float), stream_of(context));
    const int group = axis.group(context);
    auto* data = static_cast<float*>(out[0]);
    if (context.comm && group >= 0) make_call<kStarts>(*context.comm, data, [=](Communicator& comm) { comm.all_reduce(group, data, count, op, 1.0f); });
  });
}

template <bool kStarts>
std::unique_ptr<Kernel> make_all_gather(const NodeSpec& spec, Device& device) {
  const Axis axis(spec);
  const auto dim = static_cast<size_t>(spec.attrs.integer("dim"));
  const Shape& shape = spec.inputs[0].shape;
  require(dim < shape.size(), "dim is past the last one");
  const int64_t parts = spec.attrs.integer("parts", 1), local = shape[dim], size = spec.outputs[0].shape[dim];
  require(parts > 0 && local % parts == 0, "the shard does not divide into parts");
  const int64_t degree = spec.attrs.integer("degree", local == 0 ? 1 : (size + local - 1) / local);
  require(degree * local >= size && (degree == 1 || parts == 1 || degree * local == size), "only a dim of one part may be padded");
  const int64_t outer = product(shape, 0, dim), inner = product(shape, dim + 1, shape.size()), piece = local / parts;
  const size_t element = size_of(spec.inputs[0].dtype), bytes = spec.inputs[0].bytes();
  if (degree * local == size) {
    const auto rows = static_cast<size_t>(outer * parts), chunk = static_cast<size_t>(piece * inner) * element;
    return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
      Communicator* comm = axis.communicator(context, degree);
      if (!comm) return copy_bytes(in[0], out[0], bytes, stream_of(context));
      const int group = axis.group(context);
      const void* input = in[0];
      void* output = out[0];
      make_call<kStarts>(*comm, output, [=](Communicator& other) { other.all_gather_into(group, input, output, rows, chunk); });
    });
  }
  require(!kStarts, "a padded dim cannot be gathered in the background");
  // Each rank's piece lands where it belongs, cut where the whole ends.
  std::vector<DeviceCopy> copies;
  for (int64_t r = 0; r < degree; r++) {
    const int64_t length = std::min(piece, size - r * piece);
    if (length <= 0) continue;
    copies.emplace_back(device, LayoutCopy{0, 0, {outer, length * inner}, {local * inner, 1}, r * outer * local * inner, {size * inner, 1}, r * piece * inner, element});
  }
  return make_kernel(
      [=](const void* const* in, void* const* out, RunContext& context) {
        Communicator* comm = axis.communicator(context, degree);
        const void* all = in[0];
        if (comm) {
          comm->all_gather(axis.group(context), in[0], context.scratch, bytes);
          all = context.scratch;
        }
        for (const DeviceCopy& copy : copies) copy.run(all, out[0], stream_of(context));
      },
      bytes * static_cast<size_t>(degree));
}

template <bool kStarts>
std::unique_ptr<Kernel> make_reduce_scatter(const NodeSpec& spec, Device&) {
  require(spec.inputs[0].dtype == DType::f32, "only float32 is reduced");
  const Axis axis(spec);
  const auto dim = static_cast<size_t>(spec.attrs.integer("dim"));
  const Shape& shape = spec.inputs[0].shape;
  require(dim < shape.size(), "dim is past the last one");
  const int64_t parts = spec.attrs.integer("parts", 1), degree = spec.attrs.integer("degree"), size = shape[dim];
  require(degree > 0 && parts > 0 && size % (parts * degree) == 0, "the dim does not divide into parts and ranks");
  const auto outer = static_cast<size_t>(product(shape, 0, dim) * parts);
  const auto chunk = static_cast<size_t>(size / parts / degree * product(shape, dim + 1, shape.size()));
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    Communicator* comm = axis.communicator(context, degree);
    const auto* input = static_cast<const float*>(in[0]);
    auto* output = static_cast<float*>(out[0]);
    if (!comm) return copy_bytes(input, output, outer * chunk * sizeof(float), stream_of(context));
    const int group = axis.group(context);
    make_call<kStarts>(*comm, output, [=](Communicator& other) { other.reduce_scatter(group, input, output, outer, chunk, 1.0f); });
  });
}

// Input x is what a ...Start gave out; the result lies in the same place.
std::unique_ptr<Kernel> make_wait(const NodeSpec& spec, Device&) {
  const Axis axis(spec);
  const size_t bytes = spec.inputs[0].bytes();
  return make_kernel([=](const void* const* in, void* const* out, RunContext& context) {
    if (context.comm && axis.group(context) >= 0) context.comm->finish(in[0]);
    copy_bytes(in[0], out[0], bytes, stream_of(context));
  });
}

}  // namespace

void register_cuda_collectives() {
  register_cuda_kernel("MerakAllReduce", make_all_reduce<false>);
  register_cuda_kernel("MerakAllGather", make_all_gather<false>);
  register_cuda_kernel("MerakReduceScatter", make_reduce_scatter<false>);
  register_cuda_kernel("MerakAllReduceStart", make_all_reduce<true>);
  register_cuda_kernel("MerakAllGatherStart", make_all_gather<true>);
  register_cuda_kernel("MerakReduceScatterStart", make_reduce_scatter<true>);
  register_cuda_kernel("MerakWait", make_wait);
}

}  // namespace merak
