/** One random number for one decision about data, keyed so that it never depends on what was drawn before. */
import { philox4x32 } from '../graph/philox.js';

/** What a draw decides; keeps the streams of different decisions apart. */
export const DRAW_SHUFFLE = 0x53687566;
export const DRAW_WINDOW = 0x57696e64;

const words = new Uint32Array(4);

/** Uniform integer in [0, bound), bound below 2^53. */
export function drawBelow(bound: number, seed: number, purpose: number, major: number, minor: number): number {
  const high = (value: number) => Math.floor(value / 2 ** 32) >>> 0;
  philox4x32(minor >>> 0, high(minor), major >>> 0, purpose, seed >>> 0, high(seed), words);
  const uniform = ((words[0]! >>> 5) * 2 ** 26 + (words[1]! >>> 6)) * 2 ** -53;
  return Math.floor(uniform * bound);
}
