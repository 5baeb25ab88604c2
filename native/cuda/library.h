// Finding NVIDIA's libraries at run time: nothing of theirs is linked, and a machine without any is as good as one that has them.
#pragma once
#include <functional>  // acceptance
#include <string>      // paths
#include <vector>      // attempts

namespace merak::cuda {

// A file that was looked at; `problem` is empty for the one in use.
struct Attempt {
  std::string path, problem;
};

// What became of looking for a library: `handle` is null where none would do.
struct Library {
  void* handle = nullptr;
  std::string path;
  std::vector<Attempt> attempts;
};

// Where a library may lie. `name` is 'libnccl', `majors` the ends of its sonames worth trying, newest first.
struct Wanted {
  const char* name;
  std::vector<int> majors;
  bool from_driver = false;  // comes with the driver: the system's is the only one that fits it
};

// Opens (RTLD_LOCAL) the first file that `accept` has nothing against: it gets the handle and says what is wrong, or ''.
// Looked at in this order: the folders of MERAK_CUDA_LIBRARIES (separated by ':'; where it is set, nothing else is), the nvidia packages
// of the Python environments in reach (from_driver: last), the toolkit's folders, what the dynamic linker knows.
Library find_library(const Wanted& wanted, const std::function<std::string(void* handle)>& accept);

// The folders that find_library would look into.
std::vector<std::string> library_folders(bool from_driver);

// One line for each file looked at, for messages.
std::string describe_attempts(const Library& library);

// The address of a function, null where the library has none.
void* symbol(void* handle, const char* name);

}  // namespace merak::cuda
