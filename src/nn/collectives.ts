/** Exchanges between the shards of a merak.spmd function, or between the data-parallel replicas of a wrapped loss. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import { balancedRange, type ShardContext, shardContext, totalOf } from '../kernels/shardContext.js';
import { checkDtype, invalid } from './arguments.js';
import { callKernel } from './call.js';

export type ReduceOperation = 'sum' | 'mean' | 'max' | 'min';

export interface DimOptions {
  /** The dim that is exchanged (default 0). */
  readonly dim?: number;
  /** Its whole extent. Needed only when it cannot be told from the shard's own; see docs/jit.md. */
  readonly size?: number;
}

/** How many shards run this function: 1 outside of merak.spmd and of a data-parallel `wrap`. */
export function numShards(): number {
  return used().numShards;
}

/**
 * Which shard this is, from 0: a plain number, as each shard of a merak.spmd function is traced for itself. Raises
 * config/invalid in a wrapped loss on several replicas, whose one trace serves all.
 */
export function axisIndex(): number {
  const { index, numShards } = used();
  if (index !== undefined) return index;
  throw new MerakError('config/invalid', 'a wrapped loss cannot depend on the number of its replica', {
    path: 'merak.nn.axisIndex',
    received: `a loss on ${numShards} replicas`,
    hint: 'compute from gathered values: merak.nn.gatherBatch works on labels and ids too',
  });
}

/**
 * Reduces a float32 tensor element by element over the shards; every shard gets the result, with the same bits. Gradients
 * are those of the sum over the shards of what each differentiates (docs/jit.md); for max and min they go to the shards
 * that hold the extreme, in equal parts.
 *
 * @example
 * const total = merak.nn.allReduce(rows.sum(0), 'sum');
 */
export function allReduce<T extends tf.Tensor>(x: T, op: ReduceOperation = 'sum'): T {
  if (!['sum', 'mean', 'max', 'min'].includes(op))
    throw invalid('allReduce', 'op', "'sum', 'mean', 'max' or 'min'", op);
  checkDtype('allReduce', 'x', x, 'float32');
  const { numShards } = used();
  if (numShards === 1) return tf.clone(x) as T;
  if (op === 'min') return tf.neg(allReduce(tf.neg(x), 'max')) as T;
  const reduced = callKernel('MerakAllReduce', { x }, { axis: 'dp', op: op === 'max' ? 'max' : 'sum' });
  // Every shard goes on from the result: its gradient is the sum of theirs.
  const shared = callKernel('MerakFanOut', { x: reduced }, { axis: 'dp' });
  return (op === 'mean' ? tf.div(shared, numShards) : shared) as T;
}

/**
 * The shards' tensors joined along a dim in the order of the shards, on every shard. Shards may differ by one row, as
 * balanced shards do. The gradient sums what every shard's readers send back and gives each shard its own part.
 *
 * @example
 * const all = merak.nn.allGather(rows); // [n / shards, d] -> [n, d]
 */
export function allGather<T extends tf.Tensor>(x: T, { dim = 0, size }: DimOptions = {}): T {
  checkDim('allGather', x, dim);
  const context = used();
  const local = x.shape[dim]!;
  const total = size ?? totalOf('allGather', local, context);
  if (context.index !== undefined) checkLocal('allGather', local, total, context);
  if (context.numShards === 1) return tf.clone(x) as T;
  const rows = Math.ceil(total / context.numShards);
  const padded = padTo(x, dim, rows);
  const gathered = callKernel(
    'MerakAllGather',
    { x: padded },
    {
      axis: 'dp',
      dim,
      parts: 1,
      size: rows * context.numShards,
      degree: context.numShards,
      index: context.index ?? 0,
      spread: true,
    },
  );
  return withoutPadding(gathered, dim, total, rows, context.numShards) as T;
}

/**
 * The whole batch from the parts of the data-parallel replicas, in the order of the samples, for losses over the global
 * batch (contrastive ones); works on labels and ids too. In a loss given to `wrap` the batch is then not cut into
 * micro-batches. Gradients are those of the mean over the replicas of their losses, so that the loss may be the same on
 * every replica or each replica's own share.
 *
 * @example
 * const scores = tf.matMul(merak.nn.gatherBatch(anchors), merak.nn.gatherBatch(positives), false, true);
 */
export function gatherBatch<T extends tf.Tensor>(x: T): T {
  return allGather(x);
}

/** This shard's rows of a tensor that all shards hold whole: the inverse of `allGather`. */
export function ownShard<T extends tf.Tensor>(x: T, { dim = 0 }: Pick<DimOptions, 'dim'> = {}): T {
  checkDim('ownShard', x, dim);
  const { begin, end } = balancedRange(x.shape[dim]!, numShards(), axisIndex());
  return cut(x, dim, begin, end) as T;
}

function used(): ShardContext {
  const context = shardContext();
  context.onUse?.();
  return context;
}

function padTo(x: tf.Tensor, dim: number, rows: number): tf.Tensor {
  const missing = rows - x.shape[dim]!;
  if (missing === 0) return x;
  return tf.pad(
    x,
    x.shape.map((_, d): [number, number] => [0, d === dim ? missing : 0]),
  );
}

/** Drops the last row of the shards that have one row less. */
function withoutPadding(x: tf.Tensor, dim: number, total: number, rows: number, numShards: number): tf.Tensor {
  const numLonger = total - (rows - 1) * numShards;
  if (numLonger === numShards) return x;
  const longer = cut(x, dim, 0, numLonger * rows);
  const shorter = cut(x, dim, numLonger * rows, numShards * rows);
  const [before, after] = [x.shape.slice(0, dim), x.shape.slice(dim + 1)];
  const blocks = tf.reshape(shorter, [...before, numShards - numLonger, rows, ...after]);
  const kept = tf.reshape(cut(blocks, dim + 1, 0, rows - 1), [
    ...before,
    (numShards - numLonger) * (rows - 1),
    ...after,
  ]);
  return numLonger === 0 ? kept : tf.concat([longer, kept], dim);
}

function cut(x: tf.Tensor, dim: number, begin: number, end: number): tf.Tensor {
  const begins = x.shape.map((_, d) => (d === dim ? begin : 0));
  const sizes = x.shape.map((whole, d) => (d === dim ? end - begin : whole));
  return tf.slice(x, begins, sizes);
}

function checkDim(op: string, x: tf.Tensor, dim: number): void {
  if (Number.isInteger(dim) && dim >= 0 && dim < x.rank) return;
  throw invalid(op, 'dim', `a dim of [${x.shape.join(', ')}]`, dim);
}

function checkLocal(op: string, local: number, total: number, { numShards, index }: ShardContext): void {
  const { begin, end } = balancedRange(total, numShards, index ?? 0);
  if (Number.isInteger(total) && end - begin === local) return;
  throw invalid(
    op,
    'size',
    `${local} rows on shard ${index} of ${numShards}`,
    `${total}, whose shard has ${end - begin}`,
  );
}
