// Reductions of a tensor: Sum, Mean, Max, Min, Prod, All, Any. X: its number type; the other macros are device/reduction.cuh's.
#include "device/elementwise.cuh"

struct Source {
  const X* x;
  __device__ WORK at(i64 i) const { return read_number<WORK>(x, i); }
};

#include "device/reduction.cuh"
