// Tables of functions bound at run time: one list of (name, symbol, parameters) gives the members and fills them.
#pragma once
#include <mutex>        // first use
#include <string>       // problems
#include <type_traits>  // function pointers

#include "cuda/library.h"  // symbol

namespace merak::cuda {

// Binds one function; its name joins `missing` where the library lacks it.
template <class Function>
void bind(void* handle, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(symbol(handle, name));
  if (!function) missing += (missing.empty() ? "it lacks " : ", ") + std::string(name);
}

// 12080 -> "12.8", as CUDA counts.
inline std::string cuda_version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

}  // namespace merak::cuda

// A member of a table: a pointer to a function of this result and these parameters.
#define MERAK_MEMBER(result, name, exported, ...) result (*name)(__VA_ARGS__) = nullptr;
// The same, bound; for functions the table cannot do without.
#define MERAK_BIND(result, name, exported, ...) bind(handle, exported, table.name, missing);
// The same for functions newer than the oldest library that will do: null where it has none.
#define MERAK_BIND_OPTIONAL(result, name, exported, ...) table.name = reinterpret_cast<decltype(table.name)>(cuda::symbol(handle, exported));
