// The generator of chain.h.
#include "ops/cuda/chain.h"

#include <algorithm>  // all_of
#include <cmath>      // isnan
#include <cstdio>     // numbers as text
#include <set>        // operations

#include "ops/cpu/shape.h"  // numel

namespace merak::cuda {
namespace {

// Dims with neighbours merged as far as every stride allows, the outermost first; a result lies whole.
struct Dims {
  Shape sizes;
  std::vector<Shape> strides;  // by input

  explicit Dims(const Chain& chain) : strides(chain.inputs.size()) {
    for (size_t d = 0; d < chain.shape.size(); d++) {
      const int64_t size = chain.shape[d];
      if (size == 1) continue;
      bool merges = !sizes.empty();
      for (size_t k = 0; merges && k < strides.size(); k++) merges = strides[k].back() == chain.inputs[k].strides[d] * size;
      if (!merges) sizes.push_back(1);
      sizes.back() *= size;
      for (size_t k = 0; k < strides.size(); k++) {
        if (!merges) strides[k].push_back(0);
        strides[k].back() = chain.inputs[k].strides[d];
      }
    }
    if (!sizes.empty()) return;
    sizes.push_back(1);
    for (Shape& own : strides) own.push_back(0);
  }

  // Whether four neighbours of the result are four neighbours, or one element, of every input.
  bool allows_vectors(const Chain& chain) const {
    const auto is_wide = [](DType dtype) { return dtype == DType::f32 || is_half(dtype); };
    if (!is_wide(chain.result) || (sizes.size() > 1 && sizes.back() % 4 != 0)) return false;
    for (size_t k = 0; k < strides.size(); k++) {
      if (!is_wide(chain.inputs[k].dtype) || (strides[k].back() != 0 && strides[k].back() != 1)) return false;
      for (size_t d = 0; strides[k].back() == 1 && d + 1 < sizes.size(); d++)
        if (strides[k][d] % 4 != 0) return false;
    }
    return true;
  }
};

const std::set<std::string> kExact = {"FloorDiv", "Mod"};  // whose rounding shows

bool computes_in_double(const Chain& chain) {
  if (chain.result == DType::i32) return true;
  for (const ChainInput& input : chain.inputs)
    if (input.dtype == DType::i32) return true;
  return std::any_of(chain.steps.begin(), chain.steps.end(), [](const ChainStep& step) { return kExact.contains(step.name); });
}

std::string number_text(double x) {
  if (std::isnan(x)) return "Work(MERAK_NAN)";
  if (std::isinf(x)) return x < 0 ? "Work(-MERAK_INFINITY)" : "Work(MERAK_INFINITY)";
  char text[40];
  std::snprintf(text, sizeof text, "Work(%.17g)", x);
  return text;
}

std::string operand_text(const Chain& chain, int operand) {
  const int num_inputs = static_cast<int>(chain.inputs.size());
  return operand < num_inputs ? "x" + std::to_string(operand) : "v" + std::to_string(operand - num_inputs);
}

// The chain itself, from one element of each input to one of the result.
std::string value_function(const Chain& chain) {
  std::string text = "__device__ inline Work value(";
  for (size_t k = 0; k < chain.inputs.size(); k++) text += (k ? ", " : "") + ("Work x" + std::to_string(k));
  text += ") {\n";
  for (size_t s = 0; s < chain.steps.size(); s++) {
    const ChainStep& step = chain.steps[s];
    text += "  const Work v" + std::to_string(s) + " = op_" + step.name + "(";
    bool first = true;
    for (const int operand : step.operands) {
      text += (first ? "" : ", ") + operand_text(chain, operand);
      first = false;
    }
    for (const double number : step.numbers) {
      text += (first ? "" : ", ") + number_text(number);
      first = false;
    }
    text += ");\n";
  }
  return text + "  return v" + std::to_string(chain.steps.size() - 1) + ";\n}\n";
}

// Where element i of the result finds each input: declares a0, a1, ...
std::string offsets(const Dims& dims, const std::string& indent) {
  std::string text;
  const size_t rank = dims.sizes.size();
  const bool is_small = numel(dims.sizes) <= 0xffffffffll;
  const std::string type = is_small ? "u32" : "i64";
  if (rank > 1) {
    text += indent + type + " rest = (" + type + ")i;\n";
    for (size_t d = rank; d-- > 1;) {
      const std::string n = std::to_string(d), size = std::to_string(dims.sizes[d]);
      text += indent + "const i64 i" + n + " = rest % " + size + (is_small ? "u" : "ll") + ";\n" + indent + "rest /= " + size + (is_small ? "u" : "ll") + ";\n";
    }
    text += indent + "const i64 i0 = rest;\n";
  } else {
    text += indent + "const i64 i0 = i;\n";
  }
  for (size_t k = 0; k < dims.strides.size(); k++) {
    text += indent + "const i64 a" + std::to_string(k) + " = ";
    bool any = false;
    for (size_t d = 0; d < rank; d++) {
      if (dims.strides[k][d] == 0) continue;
      text += (any ? " + " : "") + ("i" + std::to_string(d)) + " * " + std::to_string(dims.strides[k][d]) + "ll";
      any = true;
    }
    text += any ? ";\n" : "0;\n";
  }
  for (size_t d = 0; d < rank; d++) text += indent + "(void)i" + std::to_string(d) + ";\n";
  return text;
}

std::string pointer(const Chain& chain, size_t k) {
  return std::string("(const ") + type_name(chain.inputs[k].dtype) + "*)in.x[" + std::to_string(k) + "]";
}

// The element whose offsets are declared.
std::string value_here(const Chain& chain) {
  std::string text = "value(";
  for (size_t k = 0; k < chain.inputs.size(); k++)
    text += (k ? ", " : "") + ("read_number<Work>(" + pointer(chain, k)) + ", a" + std::to_string(k) + ")";
  return text + ")";
}

std::string one_element(const Chain& chain, const Dims& dims, const std::string& indent) {
  return offsets(dims, indent) + indent + "write_number<Work>(out, i, " + value_here(chain) + ");\n";
}

std::string four_elements(const Chain& chain, const Dims& dims, const std::string& indent) {
  std::string text = offsets(dims, indent);
  for (size_t k = 0; k < chain.inputs.size(); k++) {
    const std::string n = std::to_string(k), from = pointer(chain, k);
    if (dims.strides[k].back() == 1) text += indent + "const float4 f" + n + " = load4(" + from + " + a" + n + ");\n";
    else text += indent + "const float s" + n + " = read_number<float>(" + from + ", a" + n + ");\n" + indent + "const float4 f" + n + " = make_float4(s" + n + ", s" + n + ", s" + n + ", s" + n + ");\n";
  }
  text += indent + "store4(out + i, make_float4(";
  for (const char* part : {"x", "y", "z", "w"}) {
    text += (*part == 'x' ? "" : ", ") + std::string("value(");
    for (size_t k = 0; k < chain.inputs.size(); k++) text += (k ? ", f" : "f") + std::to_string(k) + "." + part;
    text += ")";
  }
  return text + "));\n";
}

// What comes before every kernel.
std::string declarations(const Chain& chain) {
  return "#include \"device/elementwise.cuh\"\nusing Work = " + std::string(work_of(chain)) + ";\nstruct Inputs {\n  const void* x[" + std::to_string(kMostChainInputs) + "];\n};\n" +
         value_function(chain);
}

}  // namespace

const char* work_of(const Chain& chain) { return computes_in_double(chain) ? "double" : "float"; }

std::string chain_reader(const Chain& chain) {
  return declarations(chain) + "struct Source {\n  Inputs in;\n  __device__ inline Work at(i64 i) const {\n" + offsets(Dims(chain), "    ") + "    return " + value_here(chain) + ";\n  }\n};\n";
}

std::string chain_source(const Chain& chain) {
  const Dims dims(chain);
  const bool vectors = dims.allows_vectors(chain) && !computes_in_double(chain);
  std::string text = declarations(chain);
  text += "extern \"C\" __global__ void chain(Inputs in, " + std::string(type_name(chain.result)) + "* out, i64 n) {\n";
  text += "  i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;\n";
  if (vectors) {
    text += "  i *= 4;\n  if (i + 4 <= n) {\n" + four_elements(chain, dims, "    ") + "    return;\n  }\n  for (; i < n; i++) {\n" + one_element(chain, dims, "    ") + "  }\n}\n";
  } else {
    text += "  if (i >= n) return;\n" + one_element(chain, dims, "  ") + "}\n";
  }
  return text;
}

DeviceChain::DeviceChain(Device& device, const Chain& chain) : device_(&device), num_inputs_(chain.inputs.size()), count_(numel(chain.shape)) {
  require(num_inputs_ <= kMostChainInputs && !chain.steps.empty(), "a chain has one to sixteen inputs");
  const bool vectors = Dims(chain).allows_vectors(chain) && !computes_in_double(chain);
  per_block_ = vectors ? 1024 : 256;
  function_ = device.function_of_text(chain_source(chain), "chain");
}

void DeviceChain::run(const void* const* inputs, void* result, CUstream stream) const {
  ChainInputs in{};
  std::copy(inputs, inputs + num_inputs_, in.x);
  device_->launch(function_, {blocks_for(count_, per_block_)}, {256}, 0, stream, {&in, &result, &count_});
}

}  // namespace merak::cuda
