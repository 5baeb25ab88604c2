/** nn.layerNorm. */
import type * as tf from '@tensorflow/tfjs';
import { checkShapes } from './arguments.js';
import { callKernelMany } from './call.js';

/**
 * Layer normalisation over the last dim: x [..., H] to zero mean and unit (biased) variance, then times gamma [H] plus
 * beta [H]. Returns x's shape.
 *
 * @example
 * const y = merak.nn.layerNorm(tf.randomNormal([2, 3, 8]), tf.ones([8]), tf.zeros([8]));
 */
export function layerNorm<T extends tf.Tensor>(x: T, gamma: tf.Tensor, beta: tf.Tensor, epsilon = 1e-5): T {
  const width = x.shape[x.rank - 1] ?? 1;
  checkShapes('layerNorm', [
    ['gamma', gamma, [width]],
    ['beta', beta, [width]],
  ]);
  return callKernelMany('MerakLayerNorm', { x, gamma, beta }, { epsilon })[0] as T;
}
