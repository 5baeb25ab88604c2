/** Layouts in numbers: local shapes, and cutting a tensor's data into shards and back. */
import { MerakError } from '../errors.js';
import type { Layout } from './layout.js';

export type ShardLayout = Extract<Layout, { readonly kind: 'shard' }>;
export type TensorData = Float32Array | Int32Array | Int8Array | Uint8Array;

/** A shard of `dim` without padding. */
export function shard(dim: number, size: number, parts = 1): ShardLayout {
  return { kind: 'shard', dim, parts, paddedSize: size };
}

/** Smallest multiple of `degree` that is >= `size`. */
export function paddedTo(size: number, degree: number): number {
  return Math.ceil(size / degree) * degree;
}

/** One string per distinct layout, for maps and messages: `replicate`, `partial`, `shard(1)`, `shard(1, parts 3)`. */
export function layoutKey(layout: Layout): string {
  return layout.kind === 'shard' ? `shard:${layout.dim}:${layout.parts}:${layout.paddedSize}` : layout.kind;
}

export function sameLayout(a: Layout, b: Layout): boolean {
  return layoutKey(a) === layoutKey(b);
}

/** The layout in words, given the shape of the value it describes. */
export function describeLayout(layout: Layout, shape: readonly number[]): string {
  if (layout.kind !== 'shard') return layout.kind;
  const notes = [`dim ${layout.dim}`];
  if (layout.parts > 1) notes.push(`${layout.parts} parts`);
  if (layout.paddedSize !== shape[layout.dim]) notes.push(`padded to ${layout.paddedSize}`);
  return `shard(${notes.join(', ')})`;
}

/** Why `layout` cannot describe a value of `shape` on `degree` ranks, or undefined if it can. */
export function layoutProblem(layout: Layout, shape: readonly number[], degree: number): string | undefined {
  if (layout.kind !== 'shard') return undefined;
  const { dim, parts, paddedSize } = layout;
  const size = shape[dim];
  if (size === undefined) return `there is no dim ${dim} in [${shape}]`;
  if (parts < 1 || paddedSize % (parts * degree) !== 0) {
    return `${paddedSize} does not split into ${parts} parts on ${degree} ranks`;
  }
  if (paddedSize < size) return `the padded size ${paddedSize} is below the size ${size}`;
  if (paddedSize !== size && parts !== 1) return 'a dim of several parts cannot be padded';
  return undefined;
}

/** Shape of one rank's piece of a value of `shape`. Raises layout/illegal when the layout does not fit it. */
export function localShape(layout: Layout, shape: readonly number[], degree: number): number[] {
  const problem = layoutProblem(layout, shape, degree);
  if (problem !== undefined) {
    throw new MerakError('layout/illegal', `a layout does not fit its value: ${problem}`, {
      expected: `a layout of [${shape}] on ${degree} ranks`,
      received: describeLayout(layout, shape),
    });
  }
  if (layout.kind !== 'shard') return [...shape];
  return shape.map((size, dim) => (dim === layout.dim ? layout.paddedSize / degree : size));
}

/**
 * Rank `index`'s shard of a tensor (row-major `data` of `shape`), zeros where padded. The whole data for `replicate` and
 * `partial`. Raises layout/illegal when the layout does not fit.
 */
export function sliceParameter<T extends TensorData>(
  data: T,
  shape: readonly number[],
  layout: Layout,
  degree: number,
  index: number,
): T {
  const local = localShape(layout, shape, degree);
  if (layout.kind !== 'shard') return data.slice() as T;
  const shardData = zeros(data, product(local));
  forEachRun(layout, shape, degree, index, (wholeOffset, shardOffset, length) => {
    shardData.set(data.subarray(wholeOffset, wholeOffset + length), shardOffset);
  });
  return shardData;
}

/** The logical tensor from the shards of ranks 0..degree-1; undoes `sliceParameter` and drops the padding. */
export function mergeParameter<T extends TensorData>(
  shards: readonly T[],
  shape: readonly number[],
  layout: Layout,
): T {
  const first = shards[0];
  if (first === undefined) throw new MerakError('layout/illegal', 'cannot merge a parameter from no shards');
  const localSize = product(localShape(layout, shape, shards.length));
  for (const one of shards) {
    if (one.length === localSize) continue;
    throw new MerakError('layout/illegal', 'a shard has the wrong number of elements', {
      expected: String(localSize),
      received: String(one.length),
    });
  }
  if (layout.kind !== 'shard') return first.slice() as T;
  const whole = zeros(first, product(shape));
  shards.forEach((one, index) => {
    forEachRun(layout, shape, shards.length, index, (wholeOffset, shardOffset, length) => {
      whole.set(one.subarray(shardOffset, shardOffset + length), wholeOffset);
    });
  });
  return whole;
}

/** Calls `visit` for every contiguous run of elements of rank `index`'s shard that is not padding. */
export function forEachRun(
  layout: ShardLayout,
  shape: readonly number[],
  degree: number,
  index: number,
  visit: (wholeOffset: number, shardOffset: number, length: number) => void,
): void {
  const { dim, parts, paddedSize } = layout;
  const size = shape[dim] ?? 0;
  const outer = product(shape.slice(0, dim));
  const inner = product(shape.slice(dim + 1));
  const pieceSize = paddedSize / parts / degree;
  for (let row = 0; row < outer; row++) {
    for (let part = 0; part < parts; part++) {
      const start = (part * degree + index) * pieceSize;
      const valid = Math.min(pieceSize, size - start);
      if (valid <= 0) continue;
      visit((row * size + start) * inner, (row * parts + part) * pieceSize * inner, valid * inner);
    }
  }
}

export function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

function zeros<T extends TensorData>(like: T, length: number): T {
  if (like instanceof Float32Array) return new Float32Array(length) as T;
  if (like instanceof Int8Array) return new Int8Array(length) as T;
  return (like instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length)) as T;
}
