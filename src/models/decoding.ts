/** Decoding token by token: what was read stays as keys and values, so that a step costs one position. */
import * as tf from '@tensorflow/tfjs';
import { attention } from '../nn/attention.js';
import { embedding } from '../nn/embedding.js';
import { attendTo, type KeysAndValues, keysAndValues, toHeads } from './crossAttention.js';
import type { EncoderDecoderParts } from './encoderDecoder.js';
import type { EncoderDecoderConfig } from './encoderDecoderConfig.js';
import { feedForward, linear, normalise } from './transformer.js';

/** What decoding has read so far. A record of tensors, so that `merak.jit` takes it and gives it back. */
export interface DecoderState {
  /** Of the source, per decoder block. */
  readonly memory: readonly KeysAndValues[];
  /** [b, S] int32 of the source; absent: all are tokens. */
  readonly mask?: tf.Tensor;
  /** Of the target, per decoder block: [b, targetLength, heads, d], zero where nothing was read yet. */
  readonly target: readonly KeysAndValues[];
}

/** @param memory the encoder's output, [b, S, H] */
export function emptyState(
  { decoderBlocks }: EncoderDecoderParts,
  { numHeads, hiddenSize, targetLength }: Required<EncoderDecoderConfig>,
  memory: tf.Tensor,
  mask: tf.Tensor | undefined,
): DecoderState {
  const shape = [memory.shape[0]!, targetLength, numHeads, hiddenSize / numHeads];
  return {
    memory: decoderBlocks.map(({ cross }) => keysAndValues(memory, cross, numHeads)),
    ...(mask === undefined ? {} : { mask }),
    target: decoderBlocks.map(() => ({ k: tf.zeros(shape), v: tf.zeros(shape) })),
  };
}

/**
 * Reads one token a row. @param token [b] int32 @param step [] int32, its position
 * @returns hidden [b, 1, H] after the final norm, and the target's keys and values with the token's among them
 */
export function decodeOne(
  { tokenTable, targetPositions, decoderBlocks, decoderNorm }: EncoderDecoderParts,
  { numHeads, targetLength }: Required<EncoderDecoderConfig>,
  epsilon: number,
  state: DecoderState,
  token: tf.Tensor,
  step: tf.Tensor,
): { readonly hidden: tf.Tensor; readonly target: readonly KeysAndValues[] } {
  const [batch = 0] = token.shape;
  const places = tf.range(0, targetLength, 1, 'int32');
  const isHere = tf.reshape(tf.cast(tf.equal(places, step), 'float32'), [1, targetLength, 1, 1]);
  const isRead = tf.cast(tf.lessEqual(places, step), 'int32');
  const seen = tf.tile(tf.reshape(isRead, [1, targetLength]), [batch, 1]);
  const position = embedding(targetPositions, tf.reshape(step, [1]));
  let x: tf.Tensor = tf.expandDims(tf.add(embedding(tokenTable, token), position), 1);
  const target: KeysAndValues[] = [];
  for (const [at, { self, cross }] of decoderBlocks.entries()) {
    const heads = tf.split(linear(normalise(x, self.norm1, epsilon), self.qkv), 3, -1);
    const [q, k, v] = heads.map((part) => toHeads(part, numHeads)) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const before = state.target[at]!;
    // The place was zero before.
    const read = { k: tf.add(before.k, tf.mul(k, isHere)), v: tf.add(before.v, tf.mul(v, isHere)) };
    target.push(read);
    x = tf.add(x, linear(tf.reshape(attention({ q, ...read, mask: seen }), x.shape), self.projection));
    const remembered = state.memory[at]!;
    x = tf.add(x, attendTo(normalise(x, cross.norm, epsilon), remembered, cross, { numHeads, mask: state.mask }));
    x = tf.add(x, feedForward(normalise(x, self.norm2, epsilon), self, 'tanh'));
  }
  return { hidden: normalise(x, decoderNorm, epsilon), target };
}
