// Changes to a node, drawn by a small generator of its own so that a seed means the same everywhere.
#include "test/mutate.h"

#include <limits>  // NaN, infinity

namespace merak::test {
namespace {

class Draw {
 public:
  explicit Draw(uint32_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 0x632be59bd9b4e019ull) {}
  // Uniform in [0, n); 0 when n is 0.
  size_t below(size_t n) {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return n ? static_cast<size_t>(state_ >> 33) % n : 0;
  }
  template <class T>
  T& of(std::vector<T>& list) {
    return list[below(list.size())];
  }

 private:
  uint64_t state_;
};

int64_t odd_dim(int64_t dim, Draw& draw) {
  if (dim > (int64_t{1} << 41)) return 0;  // changed once already
  switch (draw.below(9)) {
    case 0: return dim - 1;
    case 1: return dim + 1;
    case 2: return 0;
    case 3: return -1;
    case 4: return 1;
    case 5: return dim * 2;
    case 6: return int64_t{1} << 40;
    case 7: return std::numeric_limits<int64_t>::max();
    default: return static_cast<int64_t>(draw.below(8));
  }
}

double odd_number(double number, Draw& draw) {
  switch (draw.below(10)) {
    case 0: return number + 1;
    case 1: return number - 1;
    case 2: return -number;
    case 3: return 0;
    case 4: return std::numeric_limits<double>::quiet_NaN();
    case 5: return std::numeric_limits<double>::infinity();
    case 6: return 1e300;
    case 7: return -9e18;
    case 8: return 2147483648.0;
    default: return static_cast<double>(draw.below(7)) - 3;
  }
}

void change_type(TensorType& type, Draw& draw) {
  switch (draw.below(5)) {
    case 0: type.dtype = static_cast<DType>(draw.below(kNumDTypes)); return;
    case 1: type.shape.insert(type.shape.begin() + static_cast<int64_t>(draw.below(type.shape.size() + 1)), static_cast<int64_t>(draw.below(4))); return;
    case 2:
      if (!type.shape.empty()) type.shape.erase(type.shape.begin() + static_cast<int64_t>(draw.below(type.shape.size())));
      return;
    default:
      if (!type.shape.empty()) {
        int64_t& dim = draw.of(type.shape);
        dim = odd_dim(dim, draw);
      }
  }
}

Attr other_attr(const Attr& attr, Draw& draw) {
  if (const auto* flag = std::get_if<bool>(&attr); flag && draw.below(2)) return !*flag;
  if (const auto* number = std::get_if<double>(&attr); number && draw.below(4)) return odd_number(*number, draw);
  if (const auto* numbers = std::get_if<std::vector<double>>(&attr); numbers && draw.below(4)) {
    std::vector<double> changed = *numbers;
    switch (draw.below(4)) {
      case 0: changed.push_back(odd_number(1, draw)); break;
      case 1:
        if (!changed.empty()) changed.pop_back();
        break;
      default:
        if (!changed.empty()) {
          double& number = draw.of(changed);
          number = odd_number(number, draw);
        }
    }
    return changed;
  }
  switch (draw.below(6)) {
    case 0: return true;
    case 1: return odd_number(2, draw);
    case 2: return std::string(draw.below(2) ? "same" : "nonsense");
    case 3: return std::vector<double>{odd_number(0, draw), odd_number(1, draw)};
    case 4: return std::vector<std::string>{"a", "b"};
    default: return std::monostate{};
  }
}

void change(NodeSpec& spec, Draw& draw) {
  switch (draw.below(10)) {
    case 0:
    case 1:
    case 2:
      if (!spec.inputs.empty()) change_type(draw.of(spec.inputs), draw);
      return;
    case 3:
    case 4:
      if (!spec.outputs.empty()) change_type(draw.of(spec.outputs), draw);
      return;
    case 5:
      if (draw.below(2) && !spec.inputs.empty()) {
        spec.inputs.pop_back();
        if (draw.below(2)) spec.input_names.pop_back();
      } else {
        spec.inputs.push_back({DType::f32, {2}});
        spec.input_names.push_back("extra");
      }
      return;
    case 6:
      if (draw.below(2) && !spec.outputs.empty()) spec.outputs.pop_back();
      else spec.outputs.push_back({DType::f32, {2}});
      return;
    case 7:
      if (!spec.input_names.empty()) draw.of(spec.input_names) = draw.below(2) ? "nonsense" : spec.input_names.front();
      return;
    default:
      if (!spec.attrs.values.empty()) {
        auto attr = spec.attrs.values.begin();
        std::advance(attr, static_cast<int64_t>(draw.below(spec.attrs.values.size())));
        if (draw.below(5) == 0) spec.attrs.values.erase(attr);
        else attr->second = other_attr(attr->second, draw);
      } else if (!spec.inputs.empty()) {
        change_type(draw.of(spec.inputs), draw);
      }
  }
}

}  // namespace

NodeSpec mutated(NodeSpec spec, uint32_t seed) {
  Draw draw(seed);
  for (size_t i = 0, times = 1 + draw.below(3); i < times; i++) change(spec, draw);
  return spec;
}

}  // namespace merak::test
