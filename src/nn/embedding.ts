/** nn.embedding. */
import type * as tf from '@tensorflow/tfjs';
import { checkDtype, checkShapes } from './arguments.js';
import { callKernel } from './call.js';

/**
 * Rows of `table` [V, H] at `ids` [...] int32; returns [..., H]. An id outside [0, V) is an error when it runs.
 *
 * @example
 * const table = tf.tensor2d([[0, 0], [1, 1], [2, 2]]);
 * merak.nn.embedding(table, tf.tensor1d([2, 1], 'int32')).print(); // [[2, 2], [1, 1]]
 */
export function embedding(table: tf.Tensor, ids: tf.Tensor): tf.Tensor {
  checkShapes('embedding', [['table', table, ['V', 'H']]]);
  checkDtype('embedding', 'ids', ids, 'int32');
  return callKernel('MerakEmbedding', { table, ids }, { vocabOffset: 0, sharded: false });
}
