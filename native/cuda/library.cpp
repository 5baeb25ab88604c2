// Folders, file names and dlopen.
#include "cuda/library.h"

#include <dlfcn.h>  // dlopen
#include <glob.h>   // wildcards

#include <algorithm>   // find
#include <cstdlib>     // getenv
#include <filesystem>  // exists, canonical
#include <sstream>     // splitting

namespace merak::cuda {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::stringstream stream(list);
  for (std::string part; std::getline(stream, part, ':');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

std::vector<std::string> matches(const std::string& pattern) {
  std::vector<std::string> paths;
  glob_t found{};
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

// lib folders of pip's nvidia packages: nvidia/cu13/lib, nvidia/nccl/lib, ... of every Python a shell would find.
std::vector<std::string> python_folders() {
  std::vector<std::string> prefixes;
  if (const std::string venv = variable("VIRTUAL_ENV"); !venv.empty()) prefixes.push_back(venv);
  if (const std::string conda = variable("CONDA_PREFIX"); !conda.empty()) prefixes.push_back(conda);
  for (const std::string& folder : split(variable("PATH"))) {
    std::error_code ignored;
    if (!fs::exists(folder + "/python3", ignored)) continue;
    // A virtual environment's python3 is a link into the installation that made it: packages may be in either.
    prefixes.push_back(fs::path(folder).parent_path().string());
    const fs::path target = fs::canonical(folder + "/python3", ignored);
    if (!target.empty()) prefixes.push_back(target.parent_path().parent_path().string());
  }
  if (const std::string home = variable("HOME"); !home.empty()) prefixes.push_back(home + "/.local");
  std::vector<std::string> folders;
  for (const std::string& prefix : prefixes)
    for (const char* packages : {"site-packages", "dist-packages"})
      for (const std::string& folder : matches(prefix + "/lib/python3*/" + packages + "/nvidia/*/lib"))
        if (std::find(folders.begin(), folders.end(), folder) == folders.end()) folders.push_back(folder);
  return folders;
}

std::vector<std::string> toolkit_folders() {
  std::vector<std::string> folders;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string root = variable(name); !root.empty()) folders.push_back(root + "/lib64");
  for (const char* folder : {"/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib"}) folders.push_back(folder);
  return folders;
}

std::vector<std::string> file_names(const Wanted& wanted) {
  std::vector<std::string> names;
  for (int major : wanted.majors) names.push_back(std::string(wanted.name) + ".so." + std::to_string(major));
  names.push_back(std::string(wanted.name) + ".so");
  return names;
}

std::string last_error() {
  const char* message = dlerror();
  return message ? message : "it cannot be opened";
}

// Opens and judges one file; true when it is the one.
bool attempt(Library& library, const std::string& path, const std::function<std::string(void*)>& accept) {
  void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!handle) {
    library.attempts.push_back({path, last_error()});
    return false;
  }
  if (std::string problem = accept(handle); !problem.empty()) {
    library.attempts.push_back({path, std::move(problem)});
    dlclose(handle);
    return false;
  }
  library.handle = handle;
  library.path = path;
  library.attempts.push_back({path, ""});
  return true;
}

}  // namespace

std::vector<std::string> library_folders(bool from_driver) {
  if (const std::string chosen = variable("MERAK_CUDA_LIBRARIES"); !chosen.empty()) return split(chosen);
  std::vector<std::string> folders = from_driver ? std::vector<std::string>() : python_folders();
  for (std::string& folder : toolkit_folders()) folders.push_back(std::move(folder));
  return folders;
}

Library find_library(const Wanted& wanted, const std::function<std::string(void*)>& accept) {
  Library library;
  const std::vector<std::string> names = file_names(wanted);
  for (const std::string& folder : library_folders(wanted.from_driver))
    for (const std::string& name : names) {
      const std::string path = folder + "/" + name;
      std::error_code ignored;
      if (fs::exists(path, ignored) && attempt(library, path, accept)) return library;
    }
  if (!variable("MERAK_CUDA_LIBRARIES").empty()) return library;
  for (const std::string& name : names) {
    // The linker's word for a file that is not there is no finding.
    void* known = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (!known) {
      dlerror();
      continue;
    }
    const bool found = attempt(library, name, accept);
    dlclose(known);
    if (found) return library;
  }
  return library;
}

std::string describe_attempts(const Library& library) {
  std::string text;
  for (const Attempt& attempt : library.attempts)
    if (!attempt.problem.empty()) text += (text.empty() ? "" : "; ") + attempt.path + ": " + attempt.problem;
  return text;
}

void* symbol(void* handle, const char* name) { return dlsym(handle, name); }

}  // namespace merak::cuda
