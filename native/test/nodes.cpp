// Reading nodes.txt: `kernel|name:dtype[dims] ...|dtype[dims] ...|attribute=kind:value ...`, kinds b(ool), n(umber), s(tring),
// l(ist of numbers), t(exts).
#include "test/nodes.h"

#include <fstream>  // the file
#include <sstream>  // splitting

namespace merak::test {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

TensorType to_type(const std::string& text) {
  const size_t bracket = text.find('[');
  const std::string name = text.substr(0, bracket);
  TensorType type;
  if (name == "f32") type.dtype = DType::f32;
  else if (name == "i32") type.dtype = DType::i32;
  else if (name == "b8") type.dtype = DType::b8;
  else if (name == "bf16") type.dtype = DType::bf16;
  else if (name == "i8") type.dtype = DType::i8;
  else throw std::runtime_error("no dtype is called " + name);
  for (const std::string& dim : split(text.substr(bracket + 1, text.size() - bracket - 2), ',')) type.shape.push_back(std::stoll(dim));
  return type;
}

Attr to_attr(char kind, const std::string& value) {
  if (kind == 'b') return value == "true";
  if (kind == 'n') return std::stod(value);
  if (kind == 's') return value;
  if (kind == 't') return split(value, ',');
  std::vector<double> numbers;
  for (const std::string& number : split(value, ',')) numbers.push_back(std::stod(number));
  return numbers;
}

NodeSpec to_node(const std::string& line) {
  std::vector<std::string> parts = split(line, '|');
  parts.resize(4);
  NodeSpec spec;
  spec.kernel = parts[0];
  for (const std::string& input : split(parts[1], ' ')) {
    const size_t colon = input.find(':');
    spec.input_names.push_back(input.substr(0, colon));
    spec.inputs.push_back(to_type(input.substr(colon + 1)));
  }
  for (const std::string& output : split(parts[2], ' ')) spec.outputs.push_back(to_type(output));
  for (const std::string& attr : split(parts[3], ' ')) {
    const size_t equals = attr.find('=');
    spec.attrs.values[attr.substr(0, equals)] = to_attr(attr.at(equals + 1), attr.substr(equals + 3));
  }
  return spec;
}

std::vector<NodeSpec> read_nodes() {
  std::ifstream file(MERAK_NODES_FILE);
  if (!file) throw std::runtime_error(std::string("cannot read ") + MERAK_NODES_FILE);
  std::vector<NodeSpec> nodes;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    number++;
    if (line.empty() || line[0] == '#') continue;
    try {
      nodes.push_back(to_node(line));
    } catch (const std::exception& error) {
      throw std::runtime_error("nodes.txt:" + std::to_string(number) + ": " + error.what());
    }
  }
  return nodes;
}

}  // namespace

const std::vector<NodeSpec>& recorded_nodes() {
  static const std::vector<NodeSpec> nodes = read_nodes();
  return nodes;
}

double total_bytes(const NodeSpec& spec) {
  double total = 0;
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (const TensorType& type : *list) {
      double bytes = static_cast<double>(size_of(type.dtype));
      for (const int64_t dim : type.shape) bytes *= static_cast<double>(dim);
      total += bytes;
    }
  return total;
}

Buffers buffers_of(const NodeSpec& spec, uint32_t seed) {
  Buffers buffers;
  uint32_t state = seed * 2654435761u + 1;
  const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
  const auto fresh = [&](size_t bytes) {
    buffers.owned.push_back(std::make_unique<std::byte[]>(bytes));
    return buffers.owned.back().get();
  };
  for (const TensorType& type : spec.inputs) {
    std::byte* data = fresh(type.bytes());
    for (int64_t i = 0; i < type.numel(); i++) {
      if (type.dtype == DType::f32) reinterpret_cast<float*>(data)[i] = static_cast<float>(next() % 1000) / 250.0f - 2.0f;
      else if (type.dtype == DType::i32) reinterpret_cast<int32_t*>(data)[i] = static_cast<int32_t>(seed == 0 ? 0 : next() % 2);
      else if (type.dtype == DType::bf16) reinterpret_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(0x3f00 + next() % 256);
      else data[i] = static_cast<std::byte>(next() % 2);
    }
    buffers.inputs.push_back(data);
  }
  for (const TensorType& type : spec.outputs) buffers.outputs.push_back(fresh(type.bytes()));
  return buffers;
}

}  // namespace merak::test
