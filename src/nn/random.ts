/** Randomness that is the same in every layout: nn.dropout, nn.randomNormal, nn.randomUniform, nn.setStep. */
import type * as tf from '@tensorflow/tfjs';
import { nextRandomNode, setRandomContext } from '../kernels/randomContext.js';
import { balancedRange, shardContext, totalOf } from '../kernels/shardContext.js';
import { invalid } from './arguments.js';
import { callKernel } from './call.js';

export interface DropoutOptions {
  /** Share of the elements set to 0, in [0, 1). */
  readonly rate: number;
  /** Nothing is dropped unless this is true. */
  readonly training: boolean;
  /** Identifies this dropout in the model; default: its place in the order of calls. */
  readonly node?: number;
}

/**
 * Sets a share `rate` of x's elements to 0 and scales the rest by 1 / (1 - rate), in training; dim 0 is the batch. Which
 * elements is a pure function of (seed, step, node, element): call `setStep` each step of a plain tfjs training loop.
 *
 * @example
 * const y = merak.nn.dropout(tf.ones([4, 8]), { rate: 0.1, training: true });
 */
export function dropout<T extends tf.Tensor>(x: T, options: DropoutOptions): T {
  const { rate, training } = options;
  if (!(rate >= 0 && rate < 1)) throw invalid('dropout', 'rate', 'a number in [0, 1)', rate);
  if (!training || rate === 0) return x;
  return callKernel('MerakDropout', { x }, { rate, ...placement(x.shape, options.node, x.rank > 0 ? 0 : -1) }) as T;
}

export interface RandomOptions {
  /** Identifies this draw in the model; default: its place in the order of calls. */
  readonly node?: number;
  /** The dim that is the batch, or -1 (default) when every micro-batch is to draw the same numbers. */
  readonly batchDim?: number;
}

/** Normal numbers of a shape, drawn anew each step. */
export function randomNormal(shape: readonly number[], mean = 0, stddev = 1, options: RandomOptions = {}): tf.Tensor {
  return draw('normal', shape, mean, stddev, options);
}

/** Uniform numbers in [low, high) of a shape, drawn anew each step. */
export function randomUniform(shape: readonly number[], low = 0, high = 1, options: RandomOptions = {}): tf.Tensor {
  return draw('uniform', shape, low, high, options);
}

/** Sets the step (and seed) that keys the random numbers of the following calls on plain tfjs. Merak's own runs set their own. */
export function setStep(step: number, seed?: number): void {
  setRandomContext({ step, microBatch: 0, ...(seed === undefined ? {} : { seed }) });
}

function draw(
  kind: 'normal' | 'uniform',
  shape: readonly number[],
  a: number,
  b: number,
  options: RandomOptions,
): tf.Tensor {
  const { node, batchDim = -1 } = options;
  return callKernel('MerakRandom', {}, { shape: [...shape], kind, a, b, ...placement(shape, node, batchDim) });
}

/** `own...` say what a trace must leave as it is: otherwise it numbers the nodes and places them in the whole itself. */
function placement(shape: readonly number[], ownNode: number | undefined, batchDim: number): tf.NamedAttrMap {
  const node = ownNode ?? nextRandomNode();
  const named: tf.NamedAttrMap = ownNode === undefined ? {} : { ownNode: true };
  const context = shardContext();
  if (batchDim < 0 || context.index === undefined || context.numShards === 1) {
    return { node, globalShape: [...shape], offsets: shape.map(() => 0), batchDim, ...named };
  }
  const total = totalOf('random', shape[batchDim]!, context);
  const { begin } = balancedRange(total, context.numShards, context.index);
  return {
    node,
    globalShape: shape.map((size, dim) => (dim === batchDim ? total : size)),
    offsets: shape.map((_, dim) => (dim === batchDim ? begin : 0)),
    batchDim: -1,
    ownPlace: true,
    ...named,
  };
}
