/** How tensors lie on the shards of a group: whole on each, or cut along a dim into balanced ranges. */
import { MerakError } from '../../errors.js';
import { balancedRange, type Range } from '../../kernels/shardContext.js';
import type { HostArray } from '../../runtime/device.js';
import type { Tree } from '../jit/tree.js';

export type Placement = { readonly placement: 'replicate' } | { readonly placement: 'shard'; readonly dim: number };

/** A placement for everything in a value, or one for each item of a list or record; left out: `replicate`. */
export type PlacementTree =
  | Placement
  | undefined
  | readonly PlacementTree[]
  | { readonly [name: string]: PlacementTree | string | number };

/** Every shard holds the whole tensor. */
export const replicate: Placement = { placement: 'replicate' };

/**
 * Shard i of W holds a range of rows (of dim `dim`, default 0): the first `rows % W` shards hold one row more than the
 * others, nothing is padded.
 *
 * @example
 * const f = group.jit(fn, { in: [merak.shard(0), merak.replicate], out: merak.shard(0) });
 */
export function shard(dim = 0): Placement {
  if (Number.isInteger(dim) && dim >= 0) return { placement: 'shard', dim };
  throw new MerakError('config/invalid', 'a shard needs the number of a dim', {
    path: 'merak.shard',
    expected: 'an integer >= 0',
    received: String(dim),
  });
}

/** The placement of each tensor of a value, in the tensors' order. Raises config/invalid where spec and value differ. */
export function placementsOf(spec: PlacementTree, tree: Tree, path: string): Placement[] {
  if (tree.kind === 'plain') return [];
  if (isPlacement(spec)) return Array.from({ length: countTensors(tree) }, () => spec);
  if (spec === undefined) return placementsOf(replicate, tree, path);
  if (tree.kind === 'list' && Array.isArray(spec)) {
    const items: readonly PlacementTree[] = spec;
    if (items.length > tree.items.length)
      throw misfit(path, `${tree.items.length} items`, `${items.length} placements`);
    return tree.items.flatMap((item, index) => placementsOf(items[index], item, `${path}[${index}]`));
  }
  if (tree.kind === 'record' && typeof spec === 'object' && !Array.isArray(spec)) {
    const entries = spec as Readonly<Record<string, PlacementTree>>;
    const known = new Set(tree.entries.map(([name]) => name));
    const unknown = Object.keys(entries).find((name) => !known.has(name));
    if (unknown !== undefined) throw misfit(`${path}.${unknown}`, `one of ${[...known].join(', ')}`, unknown);
    return tree.entries.flatMap(([name, item]) => placementsOf(entries[name], item, `${path}.${name}`));
  }
  throw misfit(path, 'merak.shard(dim), merak.replicate, or the structure of the value', JSON.stringify(spec));
}

function isPlacement(spec: PlacementTree): spec is Placement {
  return typeof spec === 'object' && !Array.isArray(spec) && 'placement' in spec;
}

function countTensors(tree: Tree): number {
  switch (tree.kind) {
    case 'tensor':
      return 1;
    case 'plain':
      return 0;
    case 'list':
      return tree.items.reduce((sum, item) => sum + countTensors(item), 0);
    case 'record':
      return tree.entries.reduce((sum, [, item]) => sum + countTensors(item), 0);
  }
}

function misfit(path: string, expected: string, received: string): MerakError {
  return new MerakError('config/invalid', 'placements do not fit the value they are for', { path, expected, received });
}

/** What shard `index` holds of dim `placement.dim`; undefined for a replicated tensor. Raises config/invalid. */
export function rangeOf(
  placement: Placement,
  shape: readonly number[],
  numShards: number,
  index: number,
  path: string,
): Range | undefined {
  if (placement.placement === 'replicate') return undefined;
  const extent = shape[placement.dim];
  if (extent === undefined || extent < numShards) {
    throw new MerakError('config/invalid', `${path} cannot be cut over ${numShards} workers`, {
      path,
      expected: `at least ${numShards} elements in dim ${placement.dim}`,
      received: `[${shape.join(', ')}]`,
      hint: 'use fewer workers, another dim, or merak.replicate',
    });
  }
  return balancedRange(extent, numShards, index);
}

/** The shape of a tensor whose dim `dim` is cut to `range`. */
export function localShape(shape: readonly number[], placement: Placement, range: Range | undefined): number[] {
  if (placement.placement === 'replicate' || range === undefined) return [...shape];
  return shape.map((size, d) => (d === placement.dim ? range.end - range.begin : size));
}

/** The elements of a range of a dim: a view where they lie together, else a copy. */
export function takeRange<T extends HostArray>(data: T, shape: readonly number[], dim: number, range: Range): T {
  const { outer, inner } = around(shape, dim);
  const whole = shape[dim]! * inner;
  const [begin, length] = [range.begin * inner, (range.end - range.begin) * inner];
  if (outer === 1) return data.subarray(begin, begin + length) as T;
  const piece = new (data.constructor as new (length: number) => T)(outer * length);
  for (let o = 0; o < outer; o++) piece.set(data.subarray(o * whole + begin, o * whole + begin + length), o * length);
  return piece;
}

/** The shards joined again in order; `shapes` are theirs. */
export function joinShards<T extends HostArray>(
  pieces: readonly T[],
  shapes: readonly (readonly number[])[],
  dim: number,
): { readonly data: T; readonly shape: number[] } {
  const extent = shapes.reduce((sum, shape) => sum + shape[dim]!, 0);
  const shape = shapes[0]!.map((size, d) => (d === dim ? extent : size));
  if (pieces.length === 1) return { data: pieces[0]!, shape };
  const { outer, inner } = around(shape, dim);
  const data = new (pieces[0]!.constructor as new (length: number) => T)(outer * extent * inner);
  let at = 0;
  for (const [index, piece] of pieces.entries()) {
    const length = shapes[index]![dim]! * inner;
    for (let o = 0; o < outer; o++) data.set(piece.subarray(o * length, (o + 1) * length), o * extent * inner + at);
    at += length;
  }
  return { data, shape };
}

function around(shape: readonly number[], dim: number): { outer: number; inner: number } {
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  return { outer: product(shape.slice(0, dim)), inner: product(shape.slice(dim + 1)) };
}
