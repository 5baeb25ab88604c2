// MerakAttention, MerakPackedAttention and their gradients on CUDA: on the tensor cores where q, k and v have 16 bits and whole rows of
// 16 bytes, else in float32 arithmetic.
#include "ops/cuda/launch.h"

namespace merak {
namespace {

using namespace cuda;

// As in device/attention.cuh.
struct AttentionShape {
  int num_queries, num_keys, num_heads, depth;
  int q_row, k_row, out_row;
  int causal;
  float scale;
  const void* mask;
};

struct AttentionPlan {
  AttentionShape shape{};
  int batch;
  bool packed;
  int mask;             // input or -1
  size_t q, k, v;       // inputs
  int64_t k_at = 0, v_at = 0;  // elements, where k and v begin in a row
  DType dtype;          // of q, k and v
  bool narrow;          // tensor cores

  AttentionPlan(const NodeSpec& spec, bool is_packed) : packed(is_packed) {
    Shape from, to;
    if (packed) {
      q = k = v = input_index(spec, "qkv");
      const std::vector<int64_t> head = spec.attrs.ints("headShape");
      require(head.size() == 4 && spec.inputs[q].numel() == 3 * head[0] * head[1] * head[2] * head[3], "qkv must be three times headShape");
      from = to = Shape(head.begin(), head.end());
      k_at = head[2] * head[3];
      v_at = 2 * k_at;
    } else {
      q = input_index(spec, "q");
      k = input_index(spec, "k");
      v = input_index(spec, "v");
      from = spec.inputs[q].shape;
      to = spec.inputs[k].shape;
      require(from.size() == 4 && to.size() == 4 && from[0] == to[0] && from[2] == to[2] && from[3] == to[3], "q and k differ in batch, heads or depth");
    }
    dtype = spec.inputs[q].dtype;
    require(is_float(dtype), "q, k and v must be float");
    const int64_t hidden = from[2] * from[3];
    require(from[0] < 65536 && from[2] < 65536 && from[1] < (1 << 30) && to[1] < (1 << 30) && 3 * hidden < (1 << 30), "attention is too large");
    batch = static_cast<int>(from[0]);
    shape = {static_cast<int>(from[1]), static_cast<int>(to[1]), static_cast<int>(from[2]), static_cast<int>(from[3]), static_cast<int>(packed ? 3 * hidden : hidden),
             static_cast<int>(packed ? 3 * hidden : hidden), static_cast<int>(hidden), spec.attrs.flag("causal", false),
             static_cast<float>(spec.attrs.number("scale")), nullptr};
    mask = spec.input("mask");
    if (mask >= 0) {
      const TensorType& kept = spec.inputs[static_cast<size_t>(mask)];
      require(kept.dtype == DType::i32 && kept.numel() == from[0] * to[1], "mask must be int32 [B,Tk]");
    }
    narrow = is_half(dtype) && shape.depth % 8 == 0 && shape.depth <= 128;
    require(shape.depth <= 512, "heads are larger than 512");
  }

  bool is_empty() const { return batch == 0 || shape.num_heads == 0 || shape.depth == 0; }
  int padded_depth() const { return (shape.depth + 15) / 16 * 16; }
  AttentionShape at(const void* const* in) const {
    AttentionShape one = shape;
    if (mask >= 0) one.mask = in[mask];
    return one;
  }
  const void* part(const void* data, int64_t elements) const { return static_cast<const std::byte*>(data) + elements * static_cast<int64_t>(size_of(dtype)); }
  Dim3 grid(int64_t rows, int64_t per_block) const {
    return {blocks_for(rows, per_block), static_cast<unsigned>(shape.num_heads), static_cast<unsigned>(batch)};
  }
  std::vector<std::string> defines(std::vector<std::string> more) const {
    more.insert(more.end(), {define("T", dtype), define("DEPTH", padded_depth()), define("CAUSAL", shape.causal), define("MASKED", mask >= 0)});
    return more;
  }
  // Bytes of a tile of rows in shared memory (device/attention.cuh, Tile).
  size_t tile_bytes(int64_t rows) const { return static_cast<size_t>(rows * (padded_depth() + 8)) * 2; }
};

constexpr int64_t kWarps = 4;

std::unique_ptr<Kernel> make_plain_forward(const NodeSpec& spec, const AttentionPlan& plan, Device& device) {
  const CUfunction function =
      device.function("plain_attention", "plain_attention",
                      {define("Q", plan.dtype), define("OUT", spec.outputs[0].dtype), define("DY", DType::f32), define("GRADIENT", DType::f32), define("DEPTH", plan.shape.depth)});
  const size_t shared = (kWarps * plan.shape.depth + 64 * (plan.shape.depth + 1)) * sizeof(float);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const AttentionShape shape = plan.at(in);
    const void *k = plan.part(in[plan.k], plan.k_at), *v = plan.part(in[plan.v], plan.v_at);
    device.launch(function, plan.grid(shape.num_queries, kWarps), {128}, shared, stream_of(context), {&in[plan.q], &k, &v, &out[0], &out[1], &shape});
  });
}

std::unique_ptr<Kernel> make_forward(const NodeSpec& spec, Device& device, bool packed) {
  const AttentionPlan plan(spec, packed);
  if (plan.is_empty()) return make_kernel([](const void* const*, void* const*, RunContext&) {});
  if (!plan.narrow) return make_plain_forward(spec, plan, device);
  const bool is_small = plan.padded_depth() <= 64;
  const int64_t row_tiles = 2, keys = is_small ? 64 : 32, queries = kWarps * 16 * row_tiles;
  const CUfunction function =
      device.function("attention", "attention", plan.defines({define("OUT", spec.outputs[0].dtype), define("ROW_TILES", row_tiles), define("KEYS", keys)}));
  const size_t shared = plan.tile_bytes(queries + 4 * keys);
  return make_kernel([=, &device](const void* const* in, void* const* out, RunContext& context) {
    const AttentionShape shape = plan.at(in);
    const void *k = plan.part(in[plan.k], plan.k_at), *v = plan.part(in[plan.v], plan.v_at);
    device.launch(function, plan.grid(shape.num_queries, queries), {128}, shared, stream_of(context), {&in[plan.q], &k, &v, &out[0], &out[1], &shape});
  });
}

// One of the two kernels of a gradient.
struct GradientKernel {
  CUfunction function = nullptr;
  int64_t rows_per_block = 0;
  size_t shared = 0;
};

GradientKernel tensor_gradient(const AttentionPlan& plan, Device& device, DType out, bool rows_are_keys) {
  const bool is_small = plan.padded_depth() <= 64;
  const int64_t row_tiles = is_small && !rows_are_keys ? 2 : 1, columns = is_small && rows_are_keys ? 64 : 32;
  GradientKernel kernel;
  kernel.rows_per_block = kWarps * 16 * row_tiles;
  kernel.function = device.function("attention_grad", "attention_grad",
                                    plan.defines({define("OUT", out), define("ROWS_ARE_KEYS", rows_are_keys), define("ROW_TILES", row_tiles), define("COLUMNS", columns)}));
  kernel.shared = plan.tile_bytes(2 * kernel.rows_per_block + 4 * columns) + static_cast<size_t>(4 * columns) * sizeof(float);
  return kernel;
}

GradientKernel plain_gradient(const NodeSpec& spec, const AttentionPlan& plan, Device& device, DType dy, bool rows_are_keys) {
  GradientKernel kernel;
  kernel.rows_per_block = kWarps;
  kernel.function = device.function("plain_attention", rows_are_keys ? "plain_attention_keys" : "plain_attention_queries",
                                    {define("Q", plan.dtype), define("OUT", DType::f32), define("DY", dy), define("GRADIENT", spec.outputs[0].dtype), define("DEPTH", plan.shape.depth)});
  kernel.shared = (2 * kWarps * plan.shape.depth + 64 * (plan.shape.depth + 1)) * sizeof(float);
  return kernel;
}

std::unique_ptr<Kernel> make_gradient(const NodeSpec& spec, Device& device, bool packed) {
  const AttentionPlan plan(spec, packed);
  if (plan.is_empty()) return make_kernel([](const void* const*, void* const*, RunContext&) {});
  const size_t idy = input_index(spec, "dy"), iout = input_index(spec, "out"), ilse = input_index(spec, "logsumexp");
  const DType dy_type = spec.inputs[idy].dtype, gradient = spec.outputs[0].dtype;
  require(is_float(dy_type) && is_float(spec.inputs[iout].dtype) && is_float(gradient), "dy, out and gradients must be float");
  const bool rounds = plan.narrow && dy_type != plan.dtype;  // the tensor cores take 16 bits only
  const CUfunction delta_of = device.function("attention_delta", "attention_delta",
                                              {define("DY", dy_type), define("OUT", spec.inputs[iout].dtype), define("T", plan.narrow ? plan.dtype : DType::bf16)});
  GradientKernel queries, keys;
  if (plan.narrow) {
    queries = tensor_gradient(plan, device, gradient, false);
    keys = tensor_gradient(plan, device, gradient, true);
  } else {
    queries = plain_gradient(spec, plan, device, dy_type, false);
    keys = plain_gradient(spec, plan, device, dy_type, true);
  }
  const int64_t num_rows = static_cast<int64_t>(plan.batch) * plan.shape.num_queries * plan.shape.num_heads;
  const size_t delta_bytes = rounded_up(static_cast<size_t>(num_rows) * sizeof(float));
  const size_t rounded_bytes = rounds ? static_cast<size_t>(num_rows * plan.shape.depth) * 2 : 0, element = size_of(gradient);
  return make_kernel(
      [=, &device](const void* const* in, void* const* out, RunContext& context) {
        const CUstream stream = stream_of(context);
        const AttentionShape shape = plan.at(in);
        const void *k = plan.part(in[plan.k], plan.k_at), *v = plan.part(in[plan.v], plan.v_at), *lse = in[ilse];
        auto* delta = context.scratch;
        void* rounded = rounds ? at(context.scratch, delta_bytes) : nullptr;
        device.launch(delta_of, {blocks_for(num_rows, 8)}, {256}, 0, stream,
                      {&in[idy], &in[iout], &delta, &rounded, &num_rows, &shape.num_queries, &shape.num_heads, &shape.depth});
        const void* dy = rounds ? rounded : in[idy];
        const auto third = [&](size_t output, int64_t elements) {
          return static_cast<void*>(static_cast<std::byte*>(out[packed ? 0 : output]) + elements * static_cast<int64_t>(element));
        };
        void *dq = out[0], *dk = third(1, plan.k_at), *dv = third(2, plan.v_at), *none = nullptr;
        const auto run = [&](const GradientKernel& kernel, int64_t rows, void* first, void* second) {
          const Dim3 grid = plan.grid(rows, kernel.rows_per_block);
          if (plan.narrow || second)
            device.launch(kernel.function, grid, {128}, kernel.shared, stream, {&in[plan.q], &k, &v, &dy, &lse, &delta, &first, &second, &shape});
          else
            device.launch(kernel.function, grid, {128}, kernel.shared, stream, {&in[plan.q], &k, &v, &dy, &lse, &delta, &first, &shape});
        };
        run(keys, shape.num_keys, dk, dv);
        run(queries, shape.num_queries, dq, none);
      },
      delta_bytes + rounded_bytes);
}

}  // namespace

void register_cuda_attention() {
  register_cuda_kernel("MerakAttention", [](const NodeSpec& spec, Device& device) { return make_forward(spec, device, false); });
  register_cuda_kernel("MerakAttentionGrad", [](const NodeSpec& spec, Device& device) { return make_gradient(spec, device, false); });
  register_cuda_kernel("MerakPackedAttention", [](const NodeSpec& spec, Device& device) { return make_forward(spec, device, true); });
  register_cuda_kernel("MerakPackedAttentionGrad", [](const NodeSpec& spec, Device& device) { return make_gradient(spec, device, true); });
}

}  // namespace merak
