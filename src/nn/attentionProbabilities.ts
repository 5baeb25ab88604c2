/** nn.attentionProbabilities. */
import * as tf from '@tensorflow/tfjs';
import { checkDtype, checkShapes } from './arguments.js';
import type { AttentionArguments } from './attention.js';

/** Far below any score, yet finite. */
const DROPPED = -1e30;

/**
 * softmax(scale q k^T) of every head, [B, h, Tq, Tk]: what `nn.attention` weighs its values with, as a tensor that a loss
 * may read. Rows sum to 1; a query that sees no key has a row of 0. Raises config/invalid on shapes that do not agree.
 *
 * @example
 * const x = tf.randomNormal([2, 5, 4, 8]);
 * const weights = merak.nn.attentionProbabilities({ q: x, k: x }); // [2, 4, 5, 5]
 */
export function attentionProbabilities(args: Omit<AttentionArguments, 'v'>): tf.Tensor4D {
  const { q, k, mask, causal = false } = args;
  checkShapes('attentionProbabilities', [
    ['q', q, ['B', 'Tq', 'h', 'd']],
    ['k', k, ['B', 'Tk', 'h', 'd']],
  ]);
  const [, numQueries = 0, , size = 0] = q.shape;
  const [batch = 0, numKeys = 0] = k.shape;
  const swapHeads = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 2, 1, 3]);
  const product: tf.Tensor = tf.matMul(swapHeads(q), swapHeads(k), false, true);
  let scores = tf.mul(product, args.scale ?? 1 / Math.sqrt(size));
  const visible: tf.Tensor[] = [];
  if (mask !== undefined) {
    checkShapes('attentionProbabilities', [['mask', mask, [batch, numKeys]]]);
    checkDtype('attentionProbabilities', 'mask', mask, 'int32');
    visible.push(tf.reshape(tf.cast(mask, 'float32'), [batch, 1, 1, numKeys]));
  }
  if (causal) visible.push(tf.tensor(triangle(numQueries, numKeys), [1, 1, numQueries, numKeys]));
  for (const keep of visible) scores = tf.add(scores, tf.mul(tf.sub(1, keep), DROPPED));
  // Dropped scores swallow what is added to them, so a row of nothing else would come out uniform.
  return visible.reduce<tf.Tensor>((weights, keep) => tf.mul(weights, keep), tf.softmax(scores)) as tf.Tensor4D;
}

/** Query i sees the keys up to i + Tk - Tq. */
function triangle(numQueries: number, numKeys: number): Float32Array {
  const last = numKeys - numQueries;
  return Float32Array.from({ length: numQueries * numKeys }, (_, i) =>
    i % numKeys <= Math.floor(i / numKeys) + last ? 1 : 0,
  );
}
