// A Kernel from a lambda: the shape every kernel file here uses.
#pragma once
#include <memory>   // std::make_unique
#include <utility>  // std::move

#include "engine/kernel.h"  // Kernel

namespace merak {

template <class Body>
class LambdaKernel final : public Kernel {
 public:
  LambdaKernel(Body body, size_t scratch_bytes) : body_(std::move(body)), scratch_bytes_(scratch_bytes) {}
  size_t scratch_bytes() const override { return scratch_bytes_; }
  void run(const void* const* inputs, void* const* outputs, RunContext& context) override {
    body_(inputs, outputs, context);
  }

 private:
  Body body_;
  size_t scratch_bytes_;
};

// `body(inputs, outputs, context)` runs the node; everything it captures was worked out at compile time.
template <class Body>
std::unique_ptr<Kernel> make_kernel(Body body, size_t scratch_bytes = 0) {
  return std::make_unique<LambdaKernel<Body>>(std::move(body), scratch_bytes);
}

// Index of the input called `name`; throws Unsupported when the node has none.
inline size_t input_index(const NodeSpec& spec, const char* name) {
  const int index = spec.input(name);
  if (index < 0) throw Unsupported(std::string("input '") + name + "' is missing");
  return static_cast<size_t>(index);
}

// Throws Unsupported unless `condition`.
inline void require(bool condition, const char* what) {
  if (!condition) throw Unsupported(what);
}

}  // namespace merak
