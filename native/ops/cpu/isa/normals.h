// Standard normals from the words of Philox.
#pragma once
#include <cstddef>  // size_t
#include <cstdint>  // uint32_t

#include "ops/cpu/isa/dispatch.h"  // MERAK_ISA_DECLARE

MERAK_ISA_DECLARE(
  // out = mean + stddev * normal, `num_pairs` pairs of words making as many pairs of normals: by Box-Muller (Annals of Mathematical
  // Statistics 29, 1958) in double precision, each rounded to a float before it is scaled, as in src/graph/initialize.ts.
  void scaled_normals(const uint32_t* words, size_t num_pairs, double mean, double stddev, float* out);)
