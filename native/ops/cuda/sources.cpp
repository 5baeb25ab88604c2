// The functions of sources.h.
#include "ops/cuda/sources.h"

#include <set>      // files seen
#include <sstream>  // lines

#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

const std::string& file_of(const std::string& path, const std::string& within) {
  // Files of device/ name their neighbours without the folder.
  const auto& files = embedded_files();
  for (const std::string& folder : {std::string(), within}) {
    const auto found = files.find(folder + path);
    if (found != files.end()) return found->second;
  }
  throw EngineError("engine/cuda", "there is no embedded CUDA source " + path);
}

void append(const std::string& text, const std::string& folder, std::set<std::string>& seen, std::string& whole) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool includes = line.rfind("#include \"", 0) == 0;
    if (line.rfind("#pragma once", 0) == 0) continue;
    if (!includes) {
      whole += line + "\n";
      continue;
    }
    const size_t begin = line.find('"') + 1;
    const std::string path = line.substr(begin, line.find('"', begin) - begin), name = path.substr(path.rfind('/') + 1);
    if (seen.insert(name).second) append(file_of(path, folder), "device/", seen, whole);
  }
}

}  // namespace

std::string source_of(const std::string& name) { return with_includes(file_of(name + ".cu", "")); }

std::string with_includes(const std::string& text) {
  std::set<std::string> seen;
  std::string whole;
  append(text, "", seen, whole);
  return whole;
}

}  // namespace merak::cuda
