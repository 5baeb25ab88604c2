// The functions of window.h.
#include "ops/cpu/window.h"

namespace merak {
namespace {

// An attribute with one number for all spatial dims, one each, or one for every dim of the tensor (batch and channels 1).
std::vector<int64_t> per_spatial(const std::vector<int64_t>& values, size_t num_spatial, const char* name) {
  if (values.size() == 1) return std::vector<int64_t>(num_spatial, values[0]);
  if (values.size() == num_spatial) return values;
  if (values.size() == num_spatial + 2) return {values.begin() + 1, values.end() - 1};
  throw Unsupported(std::string(name) + " has the wrong length");
}

}  // namespace

std::vector<int64_t> pool_filter(const NodeSpec& spec, size_t num_spatial) {
  return per_spatial(spec.attrs.ints("filterSize"), num_spatial, "filterSize");
}

Window window_of(const NodeSpec& spec, const Shape& in, const Shape& out, const std::vector<int64_t>& filter) {
  const size_t num_spatial = filter.size();
  require(num_spatial >= 1 && num_spatial <= 3 && in.size() == num_spatial + 2 && out.size() == in.size(), "input and output must be [batch, spatial..., channels]");
  const std::string format = spec.attrs.text("dataFormat", "NHWC");
  require(format == "NHWC" || format == "NDHWC", "channels must be the last dim");
  const auto stride = per_spatial(spec.attrs.ints("strides", {1}), num_spatial, "strides");
  const auto dilation = per_spatial(spec.attrs.ints("dilations", {1}), num_spatial, "dilations");
  Window w;
  w.batch = in.front();
  w.channels = in.back();
  require(out.front() == w.batch && out.back() == w.channels, "batch and channels must not change");
  const auto pad = spec.attrs.values.find("pad");
  const std::string* mode = pad == spec.attrs.values.end() ? nullptr : std::get_if<std::string>(&pad->second);
  const std::vector<int64_t> numbers = mode || pad == spec.attrs.values.end() ? std::vector<int64_t>{} : spec.attrs.ints("pad");
  for (size_t s = 0; s < num_spatial; s++) {
    const size_t d = s + 3 - num_spatial;
    w.in[d] = in[s + 1];
    w.out[d] = out[s + 1];
    w.filter[d] = filter[s];
    w.stride[d] = stride[s];
    w.dilation[d] = dilation[s];
    require(filter[s] > 0 && stride[s] > 0 && dilation[s] > 0, "filter, strides and dilations must be positive");
    if (mode && *mode == "same") {
      const int64_t covered = (w.out[d] - 1) * stride[s] + (filter[s] - 1) * dilation[s] + 1;
      w.before[d] = std::max<int64_t>(0, covered - w.in[d]) / 2;
    } else if (numbers.size() == 1) {
      w.before[d] = numbers[0];
    } else if (numbers.size() == 2 * in.size()) {
      w.before[d] = numbers[2 * (s + 1)];  // explicit pairs, one for every dim of the tensor
    } else {
      require((mode && *mode == "valid") || (!mode && numbers.empty()), "unknown pad");
    }
    require(w.before[d] >= 0, "padding must not be negative");
  }
  return w;
}

}  // namespace merak
