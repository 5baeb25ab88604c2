/** Shuffling as a pure function of (seed, epoch): the same order on every machine and after every resume. */
import { DRAW_SHUFFLE, drawBelow } from './draw.js';

/** A permutation of 0..length-1 (Fisher-Yates). */
export function shuffledIndices(length: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = drawBelow(i + 1, seed, DRAW_SHUFFLE, epoch, i);
    const swapped = order[i]!;
    order[i] = order[j]!;
    order[j] = swapped;
  }
  return order;
}
