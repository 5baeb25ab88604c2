// Runs the native tests; arguments choose those whose name contains one of them. Exit status 1 when one fails.
#include <chrono>   // seconds per test
#include <cstdio>   // printf
#include <cstring>  // strstr

#include "test/check.h"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  int num_passed = 0, num_failed = 0;
  for (const merak::test::Test& test : merak::test::tests()) {
    bool chosen = argc <= 1;
    for (int i = 1; i < argc; i++) chosen = chosen || std::strstr(test.name, argv[i]) != nullptr;
    if (!chosen) continue;
    const auto start = Clock::now();
    try {
      test.body();
      num_passed++;
      std::printf("  ok    %s (%.1f s)\n", test.name, std::chrono::duration<double>(Clock::now() - start).count());
    } catch (const std::exception& error) {
      num_failed++;
      std::printf("  FAIL  %s: %s\n", test.name, error.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d native tests passed, %d failed\n", num_passed, num_failed);
  return num_failed == 0 && num_passed > 0 ? 0 : 1;
}
