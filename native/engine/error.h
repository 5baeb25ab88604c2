// Errors of the engine that carry a Merak error code.
#pragma once
#include <stdexcept>  // std::runtime_error
#include <string>     // code

namespace merak {

// `code` is one of src/errors.ts, e.g. 'engine/kernel'.
struct EngineError : std::runtime_error {
  std::string code;
  EngineError(std::string code_, const std::string& message) : std::runtime_error(message), code(std::move(code_)) {}
};

}  // namespace merak
