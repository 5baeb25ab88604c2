// What a native test is made of: TEST registers one, CHECK ends it with file, line and text when its condition is false.
#pragma once
#include <cmath>       // std::fabs
#include <functional>  // test bodies
#include <stdexcept>   // a failed check
#include <string>      // messages
#include <vector>      // the list

namespace merak::test {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> list;
  return list;
}

struct Registered {
  Registered(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#define MERAK_JOIN_(a, b) a##b
#define MERAK_JOIN(a, b) MERAK_JOIN_(a, b)
#define TEST(name)                                                                             \
  static void MERAK_JOIN(test_, __LINE__)();                                                   \
  static const ::merak::test::Registered MERAK_JOIN(registered_, __LINE__)(name, MERAK_JOIN(test_, __LINE__)); \
  static void MERAK_JOIN(test_, __LINE__)()
#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) throw ::merak::test::Failure(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition); \
  } while (false)

// Runs `body`, which must throw an `Error`; returns what it threw.
template <class Error>
Error thrown_by(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  throw Failure("nothing was thrown where an error is expected");
}

}  // namespace merak::test
