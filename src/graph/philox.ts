/** Counter-based random numbers (Philox4x32-10, Salmon et al., SC'11): any element of any tensor, in any order. */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const NUM_ROUNDS = 10;
const TWO_32 = 2 ** 32;

/** What a stream of numbers is keyed by; docs/kernels.md. `seed` is a non-negative safe integer. */
export interface RandomStream {
  readonly seed: number;
  readonly step: number;
  readonly node: number;
}

/** A box of a tensor: `shape` elements from `offsets` on in `globalShape`. */
export interface Region {
  readonly shape: readonly number[];
  readonly globalShape: readonly number[];
  readonly offsets: readonly number[];
}

/** The high 32 bits of a 32x32-bit product. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** One block: four words into `out` from a 128-bit counter (low word first) and a 64-bit key (low word first). */
export function philox4x32(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  keyLow: number,
  keyHigh: number,
  out: Uint32Array,
): void {
  let k0 = keyLow;
  let k1 = keyHigh;
  for (let round = 0; round < NUM_ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Uniform in [0,1) on 24 bits: exact in float32. */
export function wordToUniform(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/** Standard normal of the word at `position` (0-3) of a block, by Box-Muller on its pair. */
export function wordsToNormal(words: Uint32Array, position: number): number {
  const first = position & 2;
  const u1 = wordToUniform(words[first]!) + 2 ** -25;
  const u2 = wordToUniform(words[first + 1]!);
  const radius = Math.sqrt(-2 * Math.log(u1));
  return (position & 1) === 0 ? radius * Math.cos(2 * Math.PI * u2) : radius * Math.sin(2 * Math.PI * u2);
}

/** Uniform [0,1) values of a region, row-major. */
export function drawUniform(stream: RandomStream, region: Region): Float32Array {
  return draw(stream, region, (words, position) => wordToUniform(words[position]!));
}

/** Standard normal values of a region, row-major: those of `wordsToNormal`, a whole block at a time where a run has one. */
export function drawNormal(stream: RandomStream, region: Region): Float32Array {
  const out = new Float32Array(region.shape.reduce((product, dim) => product * dim, 1));
  const words = new Uint32Array(4);
  const low = stream.step >>> 0;
  const high = stream.node >>> 0;
  const keyLow = stream.seed >>> 0;
  const keyHigh = Math.floor(stream.seed / TWO_32) >>> 0;
  let at = 0;
  forEachRun(region, (start, length) => {
    const end = start + length;
    for (let i = start; i < end; ) {
      const block = Math.floor(i / 4);
      philox4x32(block >>> 0, Math.floor(block / TWO_32), low, high, keyLow, keyHigh, words);
      if (i === block * 4 && i + 4 <= end) {
        pairToNormals(words[0]!, words[1]!, out, at);
        pairToNormals(words[2]!, words[3]!, out, at + 2);
        i += 4;
        at += 4;
        continue;
      }
      for (const stop = Math.min(end, block * 4 + 4); i < stop; i++) out[at++] = wordsToNormal(words, i % 4);
    }
  });
  return out;
}

/** Both normals of a pair of words by Box-Muller, the same bits as `wordsToNormal` gives one at a time. */
function pairToNormals(first: number, second: number, out: Float32Array, at: number): void {
  const radius = Math.sqrt(-2 * Math.log(wordToUniform(first) + 2 ** -25));
  const angle = 2 * Math.PI * wordToUniform(second);
  out[at] = radius * Math.cos(angle);
  out[at + 1] = radius * Math.sin(angle);
}

/** One value per element of a region from the block it falls in and its position there. */
export function draw(
  stream: RandomStream,
  region: Region,
  elementOf: (words: Uint32Array, position: number) => number,
): Float32Array {
  const size = region.shape.reduce((product, dim) => product * dim, 1);
  const out = new Float32Array(size);
  const words = new Uint32Array(4);
  const keyLow = stream.seed >>> 0;
  const keyHigh = Math.floor(stream.seed / TWO_32) >>> 0;
  let current = -1;
  let at = 0;
  forEachRun(region, (start, length) => {
    for (let i = start; i < start + length; i++) {
      const block = Math.floor(i / 4);
      if (block !== current) {
        philox4x32(
          block >>> 0,
          Math.floor(block / TWO_32),
          stream.step >>> 0,
          stream.node >>> 0,
          keyLow,
          keyHigh,
          words,
        );
        current = block;
      }
      out[at++] = elementOf(words, i % 4);
    }
  });
  return out;
}

/** Calls back with every contiguous run (global linear index, length) of a region, row-major. */
export function forEachRun(region: Region, visit: (start: number, length: number) => void): void {
  const { shape, globalShape, offsets } = region;
  if (shape.some((dim) => dim === 0)) return;
  const rank = shape.length;
  if (rank === 0) {
    visit(0, 1);
    return;
  }
  const index = new Array<number>(rank).fill(0);
  for (;;) {
    let start = 0;
    for (let dim = 0; dim < rank; dim++) start = start * globalShape[dim]! + offsets[dim]! + index[dim]!;
    visit(start, shape[rank - 1]!);
    let dim = rank - 2;
    for (; dim >= 0; dim--) {
      index[dim] = index[dim]! + 1;
      if (index[dim]! < shape[dim]!) break;
      index[dim] = 0;
    }
    if (dim < 0) return;
  }
}

/** FNV-1a, 32 bit, over UTF-8: the `node` of a parameter's initialiser. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
