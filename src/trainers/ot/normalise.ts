/** Clouds as the engine takes them: centred and scaled, so that float32 loses nothing to their place and size. */
import type { Transport } from './points.js';

export interface NormalisedClouds {
  readonly n: number;
  readonly m: number;
  readonly dimension: number;
  /** [n, dimension]. */
  readonly x: Float32Array;
  /** [m, dimension]. */
  readonly y: Float32Array;
  readonly a: Float64Array;
  readonly b: Float64Array;
  /** A squared distance here, times this, is one of the clouds given. */
  readonly costScale: number;
}

/** Centred on the mean of all points; no squared distance exceeds 1. */
export function normalise({ x, y }: Transport): NormalisedClouds {
  const d = x.dimension;
  const centre = new Float64Array(d);
  for (const cloud of [x, y]) {
    for (const [i, value] of cloud.coordinates.entries()) centre[i % d]! += value / (x.size + y.size);
  }
  const centred = (cloud: typeof x): Float64Array => cloud.coordinates.map((value, i) => value - centre[i % d]!);
  const [cx, cy] = [centred(x), centred(y)];
  const reach = Math.max(largestNorm(cx, d) + largestNorm(cy, d), Number.MIN_VALUE);
  const scaled = (values: Float64Array): Float32Array => Float32Array.from(values, (value) => value / reach);
  const sizes = { n: x.size, m: y.size, dimension: d };
  return { ...sizes, x: scaled(cx), y: scaled(cy), a: x.mass, b: y.mass, costScale: reach ** 2 };
}

/** The mean of all squared distances: mean |x|^2 + mean |y|^2 - 2 mean x . mean y. */
export function meanCost({ n, m, dimension: d, x, y }: NormalisedClouds): number {
  const square = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
  const mean = (values: Float32Array, size: number, c: number): number =>
    values.reduce((sum, value, i) => (i % d === c ? sum + value : sum), 0) / size;
  let inner = 0;
  for (let c = 0; c < d; c++) inner += mean(x, n, c) * mean(y, m, c);
  return square(x) / n + square(y) / m - 2 * inner;
}

function largestNorm(values: Float64Array, d: number): number {
  let largest = 0;
  for (let i = 0; i < values.length; i += d) {
    largest = Math.max(
      largest,
      values.subarray(i, i + d).reduce((sum, value) => sum + value * value, 0),
    );
  }
  return Math.sqrt(largest);
}
