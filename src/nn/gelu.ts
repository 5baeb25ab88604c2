/** nn.gelu. */
import type * as tf from '@tensorflow/tfjs';
import { callKernel } from './call.js';

/**
 * The Gaussian error linear unit, x Phi(x): with `approximate` 'tanh' (default, as GPT-2) or 'none' (erf, as BERT).
 *
 * @example
 * merak.nn.gelu(tf.tensor1d([-1, 0, 1])).print(); // [-0.158808, 0, 0.841192]
 */
export function gelu<T extends tf.Tensor>(x: T, approximate: 'tanh' | 'none' = 'tanh'): T {
  return callKernel('MerakGelu', { x }, { approximate }) as T;
}
