/** merak.models.pool: one vector a sequence from the hidden states of an encoder. */
import * as tf from '@tensorflow/tfjs';
import { invalid } from './configuration.js';

/** cls: the first position; mean, first-last, last-two: the mean over tokens of the last, first and last, or last two layers. */
export const POOLINGS = ['cls', 'mean', 'first-last', 'last-two'] as const;
export type Pooling = (typeof POOLINGS)[number];

/**
 * [b, H] from `hidden` (what `encode` returns: embedding output first, [b, T, H] each). `first-last` averages the output of
 * the first block with that of the last (Su et al. 2021, after Li et al. 2020).
 *
 * @param mask [b, T] int32, 1 token and 0 padding; absent: all are tokens
 * @throws MerakError config/invalid when there are too few layers
 * @example
 * const { hidden } = encoder.encode({ tokens, mask });
 * const vectors = merak.models.pool('mean', hidden, mask);
 */
export function pool(pooling: Pooling, hidden: readonly tf.Tensor[], mask?: tf.Tensor): tf.Tensor2D {
  const last = hidden.at(-1);
  if (last === undefined || (pooling === 'last-two' && hidden.length < 2)) {
    throw invalid('pool', 'hidden', pooling === 'last-two' ? 'two layers or more' : 'a layer', hidden.length);
  }
  const [numSamples = 0, , size = 0] = last.shape;
  if (pooling === 'cls') {
    return tf.reshape(tf.slice(last, [0, 0, 0], [numSamples, 1, size]), [numSamples, size]);
  }
  return meanOverTokens(layerOf(pooling, hidden, last), mask);
}

function layerOf(pooling: Exclude<Pooling, 'cls'>, hidden: readonly tf.Tensor[], last: tf.Tensor): tf.Tensor {
  if (pooling === 'mean') return last;
  const other = pooling === 'last-two' ? hidden.at(-2)! : (hidden[1] ?? hidden[0]!);
  return tf.mul(tf.add(other, last), 0.5);
}

/** [b, T, H] -> [b, H]; a sequence of padding alone gives zeros. */
export function meanOverTokens(x: tf.Tensor, mask?: tf.Tensor): tf.Tensor2D {
  if (mask === undefined) return tf.mean(x, 1);
  const weights = tf.cast(mask, 'float32');
  const total = tf.sum(tf.mul(x, tf.expandDims(weights, 2)), 1);
  return tf.div(total, tf.maximum(tf.sum(weights, 1, true), 1));
}
