// Collectives as kernels: MerakAllReduce, MerakFanOut, MerakAllGather, MerakReduceScatter, MerakShard, and those that are started
// and awaited apart (MerakAllReduceStart, ..., MerakWait).
#include <algorithm>  // std::clamp
#include <cstring>    // memcpy

#include "comm/communicator.h"    // Communicator
#include "ops/cpu/make_kernel.h"  // make_kernel

namespace merak {
namespace {

enum class Axis { tp, dp };

Axis axis_of(const NodeSpec& spec) {
  const std::string axis = spec.attrs.text("axis", "tp");
  require(axis == "tp" || axis == "dp", "axis must be 'tp' or 'dp'");
  return axis == "tp" ? Axis::tp : Axis::dp;
}
int group_of(const RunContext& context, Axis axis) { return axis == Axis::tp ? context.tp_group : context.dp_group; }
int size_of(const RunContext& context, Axis axis) { return axis == Axis::tp ? context.tp_size : context.dp_size; }

template <bool kStarts>
std::unique_ptr<Kernel> make_all_reduce(const NodeSpec& spec) {
  require(spec.inputs[0].dtype == DType::f32, "only float32 is reduced");
  const std::string name = spec.attrs.text("op", "sum");
  require(name == "sum" || name == "max", "op must be 'sum' or 'max'");
  const ReduceOp op = name == "sum" ? ReduceOp::sum : ReduceOp::max;
  const Axis axis = axis_of(spec);
  const size_t count = static_cast<size_t>(spec.inputs[0].numel());
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext& context) {
    if (outputs[0] != inputs[0]) std::memcpy(outputs[0], inputs[0], count * sizeof(float));
    const int group = group_of(context, axis);
    auto* data = static_cast<float*>(outputs[0]);
    Communicator* comm = group < 0 ? nullptr : context.comm;
    if (comm && kStarts) comm->start(data, [=](Communicator& other) { other.all_reduce(group, data, count, op, 1.0f); });
    else if (comm) comm->all_reduce(group, data, count, op, 1.0f);
  });
}

std::unique_ptr<Kernel> make_fan_out(const NodeSpec& spec) {
  const size_t bytes = spec.inputs[0].bytes();
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    if (outputs[0] != inputs[0]) std::memcpy(outputs[0], inputs[0], bytes);
  });
}

// A dim seen as [outer, parts, size / parts, inner]; lengths in bytes of the innermost.
struct Cut {
  int64_t outer = 1, parts, inner_bytes;
};

Cut cut_of(const NodeSpec& spec, size_t dim) {
  const Shape& shape = spec.inputs[0].shape;
  require(dim < shape.size(), "dim is past the last one");
  Cut cut;
  cut.parts = spec.attrs.integer("parts", 1);
  cut.inner_bytes = static_cast<int64_t>(merak::size_of(spec.inputs[0].dtype));
  for (size_t d = 0; d < dim; d++) cut.outer *= shape[d];
  for (size_t d = dim + 1; d < shape.size(); d++) cut.inner_bytes *= shape[d];
  return cut;
}

void check_degree(const RunContext& context, Axis axis, int64_t degree, const char* what) {
  if (size_of(context, axis) == degree) return;
  throw std::runtime_error(std::string("the plan ") + what + " " + std::to_string(degree) + " shards on an axis of " +
                           std::to_string(size_of(context, axis)) + " ranks");
}

template <bool kStarts>
std::unique_ptr<Kernel> make_all_gather(const NodeSpec& spec) {
  const Axis axis = axis_of(spec);
  const size_t dim = spec.attrs.integer("dim");
  const Cut cut = cut_of(spec, dim);
  const int64_t local = spec.inputs[0].shape[dim], size = spec.outputs[0].shape[dim];
  require(cut.parts > 0 && local % cut.parts == 0, "the shard does not divide into parts");
  const int64_t least = local == 0 ? 1 : (size + local - 1) / local;
  const int64_t degree = static_cast<int64_t>(spec.attrs.number("degree", static_cast<double>(least)));
  require(degree == 1 || cut.parts == 1 || degree * local == size, "only a dim of one part may be padded");
  require(degree * local >= size, "the shards are shorter than the whole");
  const size_t bytes = spec.inputs[0].bytes();
  const int64_t piece = local / cut.parts;  // of the dim, per rank and part
  if (degree * local == size) {
    // No padding: every rank's pieces go straight to their places.
    const size_t outer = static_cast<size_t>(cut.outer * cut.parts), chunk = static_cast<size_t>(piece * cut.inner_bytes);
    return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext& context) {
      const int group = group_of(context, axis);
      const void* input = inputs[0];
      void* output = outputs[0];
      if (!context.comm || group < 0) {
        if (degree != 1) throw std::runtime_error("gathering shards of other ranks needs a communicator");
        std::memcpy(output, input, bytes);
        return;
      }
      check_degree(context, axis, degree, "gathers");
      if (!kStarts) return context.comm->all_gather_into(group, input, output, outer, chunk);
      context.comm->start(output, [=](Communicator& comm) { comm.all_gather_into(group, input, output, outer, chunk); });
    });
  }
  require(!kStarts, "a padded dim cannot be gathered in the background");
  return make_kernel(
      [=](const void* const* inputs, void* const* outputs, RunContext& context) {
        const int group = group_of(context, axis);
        const auto* all = static_cast<const uint8_t*>(inputs[0]);
        if (context.comm && group >= 0) {
          check_degree(context, axis, degree, "gathers");
          context.comm->all_gather(group, inputs[0], context.scratch, bytes);
          all = static_cast<const uint8_t*>(context.scratch);
        } else if (degree != 1) {
          throw std::runtime_error("gathering shards of other ranks needs a communicator");
        }
        auto* whole = static_cast<uint8_t*>(outputs[0]);
        for (int64_t o = 0; o < cut.outer; o++)
          for (int64_t part = 0; part < cut.parts; part++)
            for (int64_t r = 0; r < degree; r++) {
              const int64_t at = (part * degree + r) * piece;
              const int64_t length = std::min(piece, size - at);
              if (length <= 0) continue;
              std::memcpy(whole + (o * size + at) * cut.inner_bytes,
                          all + r * static_cast<int64_t>(bytes) + (o * local + part * piece) * cut.inner_bytes,
                          static_cast<size_t>(length * cut.inner_bytes));
            }
      },
      bytes * static_cast<size_t>(degree));
}

template <bool kStarts>
std::unique_ptr<Kernel> make_reduce_scatter(const NodeSpec& spec) {
  require(spec.inputs[0].dtype == DType::f32, "only float32 is reduced");
  const Axis axis = axis_of(spec);
  const size_t dim = spec.attrs.integer("dim");
  const Cut cut = cut_of(spec, dim);
  const int64_t degree = spec.attrs.integer("degree");
  const int64_t size = spec.inputs[0].shape[dim];
  require(degree > 0 && cut.parts > 0 && size % (cut.parts * degree) == 0, "the dim does not divide into parts and ranks");
  const size_t outer = static_cast<size_t>(cut.outer * cut.parts);
  const size_t chunk = static_cast<size_t>(size / cut.parts / degree * cut.inner_bytes) / sizeof(float);
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext& context) {
    const int group = group_of(context, axis);
    const auto* input = static_cast<const float*>(inputs[0]);
    auto* output = static_cast<float*>(outputs[0]);
    if (!context.comm || group < 0) {
      if (degree != 1) throw std::runtime_error("reducing terms of other ranks needs a communicator");
      std::memcpy(output, input, outer * chunk * sizeof(float));
      return;
    }
    check_degree(context, axis, degree, "scatters");
    if (!kStarts) return context.comm->reduce_scatter(group, input, output, outer, chunk, 1.0f);
    context.comm->start(output, [=](Communicator& comm) { comm.reduce_scatter(group, input, output, outer, chunk, 1.0f); });
  });
}

// Input x is what a ...Start gave out; the result lies in the same place.
std::unique_ptr<Kernel> make_wait(const NodeSpec& spec) {
  const Axis axis = axis_of(spec);
  const size_t bytes = spec.inputs[0].bytes();
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext& context) {
    if (context.comm && group_of(context, axis) >= 0) context.comm->finish(inputs[0]);
    if (outputs[0] != inputs[0]) std::memcpy(outputs[0], inputs[0], bytes);
  });
}

std::unique_ptr<Kernel> make_shard(const NodeSpec& spec) {
  const size_t dim = spec.attrs.integer("dim");
  const Cut cut = cut_of(spec, dim);
  const int64_t degree = spec.attrs.integer("degree"), index = spec.attrs.integer("index");
  const int64_t size = spec.inputs[0].shape[dim];
  const int64_t padded = static_cast<int64_t>(spec.attrs.number("paddedSize", static_cast<double>(size)));
  require(degree > 0 && index >= 0 && index < degree, "index must be below degree");
  require(padded >= size && padded % (cut.parts * degree) == 0, "paddedSize must divide into parts and ranks");
  require(cut.parts == 1 || padded == size, "only a dim of one part may be padded");
  const int64_t piece = padded / cut.parts / degree, local = piece * cut.parts;
  return make_kernel([=](const void* const* inputs, void* const* outputs, RunContext&) {
    const auto* whole = static_cast<const uint8_t*>(inputs[0]);
    auto* shard = static_cast<uint8_t*>(outputs[0]);
    for (int64_t o = 0; o < cut.outer; o++)
      for (int64_t part = 0; part < cut.parts; part++) {
        const int64_t at = (part * degree + index) * piece;
        const int64_t length = std::clamp<int64_t>(size - at, 0, piece);
        uint8_t* target = shard + (o * local + part * piece) * cut.inner_bytes;
        if (length > 0) std::memcpy(target, whole + (o * size + at) * cut.inner_bytes, static_cast<size_t>(length * cut.inner_bytes));
        if (length < piece) std::memset(target + length * cut.inner_bytes, 0, static_cast<size_t>((piece - length) * cut.inner_bytes));
      }
  });
}

}  // namespace

void register_collective_kernels() {
  register_kernel("MerakAllReduce", make_all_reduce<false>);
  register_kernel("MerakAllReduceStart", make_all_reduce<true>);
  register_kernel("MerakAllGatherStart", make_all_gather<true>);
  register_kernel("MerakReduceScatter", make_reduce_scatter<false>);
  register_kernel("MerakReduceScatterStart", make_reduce_scatter<true>);
  register_kernel("MerakWait", make_wait);
  register_kernel("MerakFanOut", make_fan_out);
  register_kernel("MerakAllGather", make_all_gather<false>);
  register_kernel("MerakShard", make_shard);
}

}  // namespace merak
