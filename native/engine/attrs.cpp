// Typed access to a node's attributes and inputs.
#include "engine/kernel.h"

namespace merak {
namespace {

[[noreturn]] void wrong(const std::string& name, const char* expected) {
  throw std::runtime_error("attribute '" + name + "' must be " + expected);
}

const Attr* find(const Attrs& attrs, const std::string& name) {
  const auto found = attrs.values.find(name);
  if (found == attrs.values.end() || std::holds_alternative<std::monostate>(found->second)) return nullptr;
  return &found->second;
}

// tfjs's sizes, axes and indices are int32; anything else (NaN among it) could not be computed with.
int64_t to_integer(const std::string& name, double value) {
  if (!(value >= -2147483648.0 && value <= 2147483647.0)) wrong(name, "within the range of int32");
  return static_cast<int64_t>(value);
}

std::vector<int64_t> list(const std::string& name, const Attr& attr) {
  if (const auto* number = std::get_if<double>(&attr)) return {to_integer(name, *number)};
  if (const auto* numbers = std::get_if<std::vector<double>>(&attr)) {
    std::vector<int64_t> result;
    for (const double value : *numbers) result.push_back(to_integer(name, value));
    return result;
  }
  wrong(name, "a number or a list of numbers");
}

}  // namespace

bool Attrs::has(const std::string& name) const { return find(*this, name) != nullptr; }

bool Attrs::flag(const std::string& name, bool fallback) const {
  const Attr* attr = find(*this, name);
  if (!attr) return fallback;
  if (const auto* value = std::get_if<bool>(attr)) return *value;
  wrong(name, "a boolean");
}

double Attrs::number(const std::string& name) const {
  if (!has(name)) wrong(name, "a number, but it is missing");
  return number(name, 0);
}

double Attrs::number(const std::string& name, double fallback) const {
  const Attr* attr = find(*this, name);
  if (!attr) return fallback;
  if (const auto* value = std::get_if<double>(attr)) return *value;
  wrong(name, "a number");
}

int64_t Attrs::integer(const std::string& name) const { return to_integer(name, number(name)); }

int64_t Attrs::integer(const std::string& name, int64_t fallback) const {
  return to_integer(name, number(name, static_cast<double>(fallback)));
}

std::string Attrs::text(const std::string& name, const std::string& fallback) const {
  const Attr* attr = find(*this, name);
  if (!attr) return fallback;
  if (const auto* value = std::get_if<std::string>(attr)) return *value;
  wrong(name, "a string");
}

std::vector<int64_t> Attrs::ints(const std::string& name) const {
  const Attr* attr = find(*this, name);
  if (!attr) wrong(name, "a number or a list of numbers, but it is missing");
  return list(name, *attr);
}

std::vector<int64_t> Attrs::ints(const std::string& name, const std::vector<int64_t>& fallback) const {
  const Attr* attr = find(*this, name);
  return attr ? list(name, *attr) : fallback;
}

int NodeSpec::input(const std::string& name) const {
  for (size_t i = 0; i < input_names.size(); i++)
    if (input_names[i] == name) return static_cast<int>(i);
  return -1;
}

}  // namespace merak
