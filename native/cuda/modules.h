// Machine code of CUDA sources: compiled by NVRTC once, kept on disk for later processes.
#pragma once
#include <string>  // texts
#include <vector>  // macros

namespace merak::cuda {

// Where machine code is kept: MERAK_CUDA_CACHE, else merak/cuda below XDG_CACHE_HOME or ~/.cache. Empty: nowhere (MERAK_CUDA_CACHE=off, or
// no home).
std::string cache_folder();

// What names the machine code of a text: nothing but these goes into it.
std::string module_key(const std::string& text, const std::vector<std::string>& options, int driver_version, int nvrtc_version);

// The machine code of a text that includes nothing, for cards of this capability. From the disk where it is there and whole, else
// compiled and put there. Throws EngineError 'engine/cuda' with the compiler's log.
std::vector<char> machine_code(const std::string& text, const std::string& name, int capability, const std::vector<std::string>& defines);

}  // namespace merak::cuda
