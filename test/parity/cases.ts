/** Generated inputs for parity tests: shapes, and data with the awkward values in it. */
import fc from 'fast-check';
import type { DType } from '../../src/graph/graph.js';
import type { HostArray } from '../../src/runtime/device.js';
import type { Input } from './compare.js';

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Shapes of rank 0 to `maxRank`, dims `min` to 5: odd and empty ones included. */
export const shapes = (maxRank = 4, min = 0): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min, max: 5 }), { minLength: 0, maxLength: maxRank });

/** Shapes of exactly `rank` dims. */
export const shapesOf = (rank: number, max = 5, min = 1): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min, max }), { minLength: rank, maxLength: rank });

const AWKWARD = [0, -0, 1, -1, 0.5, 1.5, 2.5, -0.5, NaN, Infinity, -Infinity, 1e30, -1e30, 1e-30, 88, -88, 3e9, -3e9];

/** mulberry32: a small seeded generator, so that a case is its seed and shape. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface DataOptions {
  readonly low?: number;
  readonly high?: number;
  /** Mix in NaN, infinities and big values. */
  readonly awkward?: boolean;
}

export function data(dtype: DType, size: number, seed: number, options: DataOptions = {}): HostArray {
  const { low = -4, high = 4, awkward = false } = options;
  const random = generator(seed);
  if (dtype === 'bool') return Uint8Array.from({ length: size }, () => (random() < 0.5 ? 0 : 1));
  if (dtype === 'int32') return Int32Array.from({ length: size }, () => Math.floor(low + random() * (high - low + 1)));
  return Float32Array.from({ length: size }, () => {
    const value = low + random() * (high - low);
    const pick = random();
    return awkward && pick < 0.2 ? (AWKWARD[Math.floor((pick / 0.2) * AWKWARD.length)] as number) : value;
  });
}

export function input(
  name: string,
  shape: readonly number[],
  dtype: DType,
  seed: number,
  options: DataOptions = {},
): Input {
  return { name, shape, dtype, data: data(dtype, sizeOf(shape), seed, options) };
}

/** Options of a property that usually takes so many cases; MERAK_CASES raises the number of every one. */
export const runs = (usual: number): { numRuns: number } => ({
  numRuns: Math.max(usual, Number(process.env.MERAK_CASES ?? 0)),
});

export const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });

/** A shape to broadcast to, and a shape that broadcasts to it. */
export const broadcastable = (target: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(
      fc.integer({ min: 0, max: target.length }),
      fc.array(fc.boolean(), { minLength: target.length, maxLength: target.length }),
    )
    .map(([drop, ones]) => target.map((size, dim) => (ones[dim] ? 1 : size)).slice(drop));
