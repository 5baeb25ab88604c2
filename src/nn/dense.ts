/** nn.dense. */
import * as tf from '@tensorflow/tfjs';
import { checkShapes } from './arguments.js';

/**
 * x w + b over the last dim: x [..., I], w [I, O], b [O] or absent; returns [..., O]. One 2-D matrix product.
 *
 * @example
 * const y = merak.nn.dense(tf.ones([2, 3, 4]), tf.ones([4, 5]), tf.zeros([5])); // [2, 3, 5]
 */
export function dense(x: tf.Tensor, w: tf.Tensor, b?: tf.Tensor): tf.Tensor {
  const inputSize = x.shape[x.rank - 1] ?? 1;
  checkShapes('dense', [['w', w, [inputSize, 'O']]]);
  const outputSize = w.shape[1]!;
  const rows = x.rank === 2 ? x : tf.reshape(x, [-1, inputSize]);
  const product: tf.Tensor = tf.matMul(rows, w);
  if (b !== undefined) checkShapes('dense', [['b', b, [outputSize]]]);
  const y = b === undefined ? product : tf.add(product, b);
  return x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), outputSize]);
}
