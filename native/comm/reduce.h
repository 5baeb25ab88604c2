// The arithmetic of an all-reduce: elementwise over n buffers, always in buffer order, so that every rank gets the same bits.
#pragma once
#include <cstddef>  // size_t

namespace merak {

// out[j] = scale * (buffers[0][j] + buffers[1][j] + ...), or the maximum. `out` may be one of the buffers.
void reduce_into(float* out, float* const* buffers, size_t num_buffers, size_t count, bool sum, float scale);
// The same, written to every buffer.
void reduce_to_all(float* const* buffers, size_t num_buffers, size_t count, bool sum, float scale);
void scale_in_place(float* data, size_t count, float scale);

}  // namespace merak
