/** Over how many shards of the data axis the function being traced runs: what merak.nn's collectives ask. */
import { MerakError } from '../errors.js';

export interface ShardContext {
  readonly numShards: number;
  /** Which of them is being traced; undefined where one trace serves all (a wrapped loss). */
  readonly index: number | undefined;
  /** Extents of the dims that were cut into balanced shards. */
  readonly totals: ReadonlySet<number>;
  /** Told that the function depends on the number of shards. */
  readonly onUse?: () => void;
  /** The group whose function is traced. */
  readonly owner?: object;
}

const ALONE: ShardContext = { numShards: 1, index: 0, totals: new Set() };

let current: ShardContext = ALONE;

export function shardContext(): ShardContext {
  return current;
}

/** Runs `body`, which must be synchronous, as one shard of a group. */
export function inShards<T>(context: ShardContext, body: () => T): T {
  const previous = current;
  current = context;
  try {
    return body();
  } finally {
    current = previous;
  }
}

export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** Shard `index` of `total` rows: shards differ by one row at most, and the longer ones come first. */
export function balancedRange(total: number, numShards: number, index: number): Range {
  const rows = Math.floor(total / numShards);
  const longer = total % numShards;
  const begin = index * rows + Math.min(index, longer);
  return { begin, end: begin + rows + (index < longer ? 1 : 0) };
}

/**
 * The whole extent of a dim of which this shard has `local` elements: the one extent among the cut ones that fits, or
 * `numShards * local` when none does. Raises config/invalid when several fit.
 */
export function totalOf(op: string, local: number, { numShards, index, totals }: ShardContext): number {
  if (index === undefined) return local * numShards;
  const fitting = [...totals].filter((total) => {
    const { begin, end } = balancedRange(total, numShards, index);
    return end - begin === local;
  });
  if (fitting.length <= 1) return fitting[0] ?? local * numShards;
  throw new MerakError('config/invalid', `${op}: ${local} rows on a shard may be part of several whole extents`, {
    path: 'size',
    expected: `one of ${fitting.join(', ')}`,
    received: 'nothing',
    hint: `say which: merak.nn.${op}(x, { size: ${fitting[0]} })`,
  });
}
