// A stand-in for NVRTC: g++ compiles the CUDA source behind an emulation header (cuda_emulation.h), and the "machine code" is the
// shared object. Objects are kept by what they are made of, below MERAK_STANDIN_CACHE.
#include <sys/stat.h>  // mkdir
#include <unistd.h>    // getpid

#include <atomic>    // names of work folders
#include <cctype>    // isalnum
#include <cstdio>    // popen
#include <cstdlib>   // getenv
#include <cstring>   // memcpy
#include <fstream>   // files
#include <iterator>  // reading files
#include <string>    // texts
#include <vector>    // lists

#include "version.h"  // version_setting

namespace {

enum : int { kSuccess = 0, kInvalidInput = 3, kInvalidProgram = 4, kInvalidOption = 5, kCompilation = 6 };

struct Program {
  std::string source, name, log, object;
  std::vector<std::pair<std::string, std::string>> headers;
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool exists(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

uint64_t hash(const std::string& text, uint64_t h = 1469598103934665603ull) {
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

std::string without_comments(const std::string& source) {
  std::string text;
  for (size_t i = 0; i < source.size(); i++) {
    if (source.compare(i, 2, "//") == 0) {
      i = source.find('\n', i);
      if (i == std::string::npos) break;
    } else if (source.compare(i, 2, "/*") == 0) {
      i = source.find("*/", i);
      if (i == std::string::npos) break;
      i++;
      continue;
    }
    text += source[i];
  }
  return text;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Names of the kernels that a source defines.
std::vector<std::string> kernels_of(const std::string& source) {
  const std::string text = without_comments(source);
  std::vector<std::string> names;
  for (size_t at = text.find("__global__"); at != std::string::npos; at = text.find("__global__", at + 1)) {
    size_t i = at + 10;
    std::string word;
    // Words and the parentheses of __launch_bounds__, up to the name before the parameters.
    while (i < text.size()) {
      while (i < text.size() && !is_word(text[i]) && text[i] != '(') i++;
      if (text[i] == '(') {
        if (word != "__launch_bounds__") break;
        for (int depth = 0; i < text.size(); i++) {
          depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
          if (depth == 0) break;
        }
        i++;
        word.clear();
        continue;
      }
      word.clear();
      while (i < text.size() && is_word(text[i])) word += text[i++];
    }
    // A declaration names a kernel that is defined elsewhere in the text.
    bool is_new = !word.empty();
    for (const std::string& name : names) is_new = is_new && name != word;
    if (is_new) names.push_back(word);
  }
  return names;
}

std::string cache_folder() {
  const char* chosen = std::getenv("MERAK_STANDIN_CACHE");
  const std::string folder = chosen && *chosen ? chosen : STANDIN_CACHE;
  mkdir(folder.c_str(), 0777);
  return folder;
}

std::atomic<int> num_compiled{0};

int compile(Program& program, const std::vector<std::string>& options) {
  std::string flags, architecture = "900";
  for (const std::string& option : options) {
    if (option.rfind("-D", 0) == 0 || option.rfind("--define-macro=", 0) == 0) {
      flags += " " + quoted("-D" + option.substr(option[1] == 'D' ? 2 : 15));
    } else if (const size_t at = option.find("=sm_"); at != std::string::npos) {
      architecture = option.substr(at + 4, 2) + "0";
    }
  }
  // MERAK_EMULATED_ENTRY exports name_launch; beside it the sizes of the arguments, which a launch has to copy, ended by 0.
  std::string text = program.source + "\n";
  text += "template <class... A> struct MerakStandinSizes { unsigned long bytes[sizeof...(A) + 1]; };\n"
          "template <class... A> constexpr MerakStandinSizes<A...> merak_standin_sizes(void (*)(A...)) { return {{sizeof(A)..., 0}}; }\n";
  for (const std::string& name : kernels_of(program.source))
    text += "MERAK_EMULATED_ENTRY(" + name + ")\nextern \"C\" __attribute__((visibility(\"default\"))) const auto " + name +
            "_sizes = merak_standin_sizes(&" + name + ");\n";
  std::string key = text + flags + architecture + STANDIN_EMULATION_HASH;
  for (const auto& [name, header] : program.headers) key += name + header;
  char id[32];
  std::snprintf(id, sizeof id, "%016llx%08llx", static_cast<unsigned long long>(hash(key)),
                static_cast<unsigned long long>(hash(key, 7) & 0xffffffff));
  const std::string stem = cache_folder() + "/" + id, work = stem + "-" + std::to_string(getpid()) + "-" + std::to_string(num_compiled++);
  if (!exists(stem + ".so")) {
    mkdir(work.c_str(), 0777);
    std::ofstream(work + "/source.cpp") << text;
    for (const auto& [name, header] : program.headers) {
      for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
        mkdir((work + "/" + name.substr(0, slash)).c_str(), 0777);
      std::ofstream(work + "/" + name) << header;
    }
    const std::string command = "g++ " STANDIN_OPTIONS " -shared -Wl,-Bsymbolic -D__CUDA_ARCH__=" + architecture + flags +
                                " -I" + quoted(work) + " -I" + quoted(STANDIN_EMULATION) + " -include cuda_emulation.h " +
                                quoted(work + "/source.cpp") + " -o " + quoted(work + ".so") + " 2>" + quoted(work + "/log");
    const int status = std::system(command.c_str());
    program.log = read(work + "/log");
    if (status == 0) std::rename((work + ".so").c_str(), (stem + ".so").c_str());
    if (std::system(("rm -rf " + quoted(work)).c_str()) != 0) return kCompilation;
    if (status != 0) return kCompilation;
  }
  program.object = read(stem + ".so");
  return kSuccess;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int nvrtcVersion(int* major, int* minor) {
  const int version = merak_standin::version_setting("NVRTC", 13000);
  *major = version / 1000;
  *minor = version % 1000 / 10;
  return kSuccess;
}
EXPORT const char* nvrtcGetErrorString(int result) {
  return result == kSuccess ? "NVRTC_SUCCESS" : result == kCompilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INVALID_INPUT";
}
EXPORT int nvrtcCreateProgram(void** program, const char* source, const char* name, int num_headers, const char* const* headers,
                              const char* const* include_names) {
  auto* made = new Program{source, name ? name : "", "", "", {}};
  for (int i = 0; i < num_headers; i++) made->headers.emplace_back(include_names[i], headers[i]);
  *program = made;
  return kSuccess;
}
EXPORT int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return kSuccess;
}
EXPORT int nvrtcCompileProgram(void* program, int num_options, const char* const* options) {
  return compile(*static_cast<Program*>(program), std::vector<std::string>(options, options + num_options));
}
EXPORT int nvrtcGetCUBINSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->object.size();
  return *bytes ? kSuccess : kInvalidProgram;
}
EXPORT int nvrtcGetCUBIN(void* program, char* cubin) {
  const std::string& object = static_cast<Program*>(program)->object;
  std::memcpy(cubin, object.data(), object.size());
  return kSuccess;
}
EXPORT int nvrtcGetProgramLogSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->log.size() + 1;
  return kSuccess;
}
EXPORT int nvrtcGetProgramLog(void* program, char* log) {
  const std::string& text = static_cast<Program*>(program)->log;
  std::memcpy(log, text.c_str(), text.size() + 1);
  return kSuccess;
}
