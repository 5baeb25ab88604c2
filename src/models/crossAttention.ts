/** Attention from one sequence to another: queries of the decoder, keys and values of the encoder's output. */
import * as tf from '@tensorflow/tfjs';
import { attention } from '../nn/attention.js';
import { type Linear, linear, makeLinear, makeNorm, type Norm, type VariableMaker } from './transformer.js';

export interface CrossBlock {
  readonly norm: Norm;
  readonly query: Linear;
  /** [H, 2H]. */
  readonly keyValue: Linear;
  readonly projection: Linear;
}

export interface KeysAndValues {
  /** [b, T, heads, d]. */
  readonly k: tf.Tensor;
  /** [b, T, heads, d]. */
  readonly v: tf.Tensor;
}

export function makeCrossBlock(
  maker: VariableMaker,
  name: string,
  size: number,
  stddev: number,
  residualStddev: number,
): CrossBlock {
  return {
    norm: makeNorm(maker, `${name}/norm`, size),
    query: makeLinear(maker, `${name}/query`, size, size, stddev),
    keyValue: makeLinear(maker, `${name}/key-value`, size, 2 * size, stddev),
    projection: makeLinear(maker, `${name}/projection`, size, size, residualStddev),
  };
}

/** [b, S, H] as the decoder block remembers it. */
export function keysAndValues(memory: tf.Tensor, block: CrossBlock, numHeads: number): KeysAndValues {
  const [k, v] = tf.split(linear(memory, block.keyValue), 2, -1).map((part) => toHeads(part, numHeads));
  return { k: k!, v: v! };
}

/** [b, T, H] -> [b, T, H]. @param mask [b, S] int32 of the keys */
export function attendTo(
  x: tf.Tensor,
  { k, v }: KeysAndValues,
  block: CrossBlock,
  { numHeads, mask }: { readonly numHeads: number; readonly mask?: tf.Tensor | undefined },
): tf.Tensor {
  const q = toHeads(linear(x, block.query), numHeads);
  const mixed = attention({ q, k, v, ...(mask === undefined ? {} : { mask }) });
  return linear(tf.reshape(mixed, x.shape), block.projection);
}

/** [b, T, H] -> [b, T, heads, d]. */
export function toHeads(x: tf.Tensor, numHeads: number): tf.Tensor {
  const [batch = 0, length = 0, size = 0] = x.shape;
  return tf.reshape(x, [batch, length, numHeads, size / numHeads]);
}
