// Weights rounded to 16 bits (TO), all of them in one launch.
#include "device/numbers.cuh"

struct Piece {
  const float* from;
  TO* to;
  int length;
};

// A block for each piece. Pieces begin at multiples of four elements of a weight.
extern "C" __global__ void __launch_bounds__(256) round_weights(const Piece* __restrict__ pieces) {
  const Piece piece = pieces[blockIdx.x];
  const int vectors = (u64)piece.from % 16 == 0 ? piece.length / 4 : 0;
  for (int i = threadIdx.x; i < vectors; i += blockDim.x) store4(piece.to + 4 * i, load4(piece.from + 4 * i));
  for (int i = 4 * vectors + threadIdx.x; i < piece.length; i += blockDim.x) piece.to[i] = Number<TO>::from(piece.from[i]);
}
