/** Inputs of parity cases from a seed. */
import type { Input } from '../compare.js';

/** Mulberry32: uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** Uniform in [-scale, scale). */
export function floats(name: string, shape: readonly number[], random: () => number, scale = 1): Input {
  const data = Float32Array.from({ length: sizeOf(shape) }, () => (random() * 2 - 1) * scale);
  return { name, shape, dtype: 'float32', data };
}

/** Integers in [low, high). */
export function integers(
  name: string,
  shape: readonly number[],
  random: () => number,
  low: number,
  high: number,
): Input {
  const data = Int32Array.from({ length: sizeOf(shape) }, () => low + Math.floor(random() * (high - low)));
  return { name, shape, dtype: 'int32', data };
}
