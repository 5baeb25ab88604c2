// CUDA sources carried in the addon, and how a text becomes one that needs no other file.
#pragma once
#include <map>     // files
#include <string>  // texts

namespace merak::cuda {

// Texts by path below native/ops/cuda, such as "gelu.cu" and "device/numbers.cuh" (made by embed.cmake).
const std::map<std::string, std::string>& embedded_files();

// The text of <name>.cu with its includes in place. Throws EngineError 'engine/cuda' for a name that is none.
std::string source_of(const std::string& name);

// A text with `#include "path"` of embedded files replaced by them, each once.
std::string with_includes(const std::string& text);

}  // namespace merak::cuda
