// Which version a stand-in says it is: MERAK_STANDIN_<NAME>_VERSION, or the one it was written after.
#pragma once
#include <cstdlib>  // getenv
#include <string>   // names

namespace merak_standin {

inline int version_setting(const char* name, int usual) {
  const char* value = std::getenv(("MERAK_STANDIN_" + std::string(name) + "_VERSION").c_str());
  return value && *value ? std::atoi(value) : usual;
}

}  // namespace merak_standin
