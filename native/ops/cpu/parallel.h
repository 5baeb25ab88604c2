// Splitting loops over OpenMP threads. The pieces depend on the grain alone, never on the number of threads.
#pragma once
#include <algorithm>  // std::min
#include <cstdint>    // int64_t

namespace merak {

// Elements of simple work below which a second thread costs more than it brings.
constexpr int64_t kParallelGrain = 16384;

// Calls body(begin, end) over [0, n) in pieces of `grain`; pieces may run at the same time.
template <class Body>
void parallel_for(int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  const int64_t step = std::max<int64_t>(1, grain);
  const int64_t num_pieces = (n + step - 1) / step;
#pragma omp parallel for schedule(static) if (num_pieces > 1)
  for (int64_t piece = 0; piece < num_pieces; piece++) body(piece * step, std::min(n, (piece + 1) * step));
}

}  // namespace merak
