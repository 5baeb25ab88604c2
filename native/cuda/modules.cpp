// Compiling and keeping machine code.
#include "cuda/modules.h"

#include <unistd.h>  // getpid

#include <cstdint>     // hashes
#include <cstdlib>     // getenv
#include <cstring>     // memcpy
#include <filesystem>  // the cache's folder
#include <fstream>     // its files

#include "cuda/driver.h"   // version
#include "cuda/nvrtc.h"    // the compiler
#include "engine/error.h"  // EngineError

namespace merak::cuda {
namespace {

uint64_t hash_of(const char* data, size_t bytes, uint64_t hash) {
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ static_cast<unsigned char>(data[i])) * 0x100000001b3;
  return hash;
}

std::string hex(uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

// Two independent walks over the bytes: 128 bits.
std::string digest(const std::string& text) {
  return hex(hash_of(text.data(), text.size(), 0xcbf29ce484222325)) + hex(hash_of(text.data(), text.size(), 0x9e3779b97f4a7c15));
}

std::string digest(const std::vector<char>& bytes) { return digest(std::string(bytes.begin(), bytes.end())); }

constexpr size_t kDigest = 32;

// A file is the digest of what follows it; a file that was cut short or changed counts as none.
std::vector<char> read_kept(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() <= kDigest) return {};
  const std::string said(bytes.begin(), bytes.begin() + kDigest);
  bytes.erase(bytes.begin(), bytes.begin() + kDigest);
  return digest(bytes) == said ? bytes : std::vector<char>();
}

// Written beside and renamed, so that other processes see all of it or nothing. A cache that cannot be written is none.
void keep(const std::filesystem::path& path, const std::vector<char>& code) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  const std::filesystem::path beside = path.string() + "." + std::to_string(getpid());
  {
    std::ofstream file(beside, std::ios::binary);
    file << digest(code);
    file.write(code.data(), static_cast<std::streamsize>(code.size()));
    file.close();
    if (file) {
      std::filesystem::rename(beside, path, ignored);
      if (!ignored) return;
    }
  }
  std::filesystem::remove(beside, ignored);
}

std::vector<char> compile(const std::string& text, const std::string& name, const std::vector<std::string>& options) {
  nvrtcProgram program = nullptr;
  check(nvrtc().nvrtcCreateProgram(&program, text.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr), "nvrtcCreateProgram");
  struct Destroy {
    nvrtcProgram* program;
    ~Destroy() { nvrtc().nvrtcDestroyProgram(program); }
  } destroy{&program};
  std::vector<const char*> list;
  for (const std::string& option : options) list.push_back(option.c_str());
  const nvrtcResult result = nvrtc().nvrtcCompileProgram(program, static_cast<int>(list.size()), list.data());
  if (result != NVRTC_SUCCESS) {
    size_t bytes = 0;
    std::string log;
    if (nvrtc().nvrtcGetProgramLogSize(program, &bytes) == NVRTC_SUCCESS && bytes > 1) {
      log.resize(bytes);
      nvrtc().nvrtcGetProgramLog(program, log.data());
    }
    std::string said;
    for (const std::string& option : options) said += " " + option;
    throw EngineError("engine/cuda", "NVRTC cannot compile " + name + ".cu with" + said + ": " + nvrtc().nvrtcGetErrorString(result) + "\n" + log);
  }
  size_t bytes = 0;
  check(nvrtc().nvrtcGetCUBINSize(program, &bytes), "nvrtcGetCUBINSize");
  std::vector<char> code(bytes);
  check(nvrtc().nvrtcGetCUBIN(program, code.data()), "nvrtcGetCUBIN");
  return code;
}

}  // namespace

std::string cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  const std::string own = variable("MERAK_CUDA_CACHE"), xdg = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (own == "off") return "";
  if (!own.empty()) return own;
  if (!xdg.empty()) return xdg + "/merak/cuda";
  return home.empty() ? "" : home + "/.cache/merak/cuda";
}

std::string module_key(const std::string& text, const std::vector<std::string>& options, int driver_version, int nvrtc_version) {
  std::string all = std::to_string(driver_version) + "\n" + std::to_string(nvrtc_version) + "\n";
  for (const std::string& option : options) all += option + "\n";
  return digest(all + text);
}

std::vector<char> machine_code(const std::string& text, const std::string& name, int capability, const std::vector<std::string>& defines) {
  std::vector<std::string> options = {"--gpu-architecture=sm_" + std::to_string(capability), "--std=c++17"};
  for (const std::string& define : defines) options.push_back("-D" + define);
  const std::string folder = cache_folder();
  const std::filesystem::path path = folder.empty() ? "" : folder + "/" + name + "-" + module_key(text, options, driver().version, nvrtc().version) + ".cubin";
  if (!path.empty()) {
    const std::vector<char> kept = read_kept(path);
    if (!kept.empty()) return kept;
  }
  const std::vector<char> code = compile(text, name, options);
  if (!path.empty()) keep(path, code);
  return code;
}

}  // namespace merak::cuda
