/** What a student's narrow embedding begins with: the assistant's, projected on its leading directions. */
import * as tf from '@tensorflow/tfjs';
import { symmetricEigen } from '../linalg/symmetricEigen.js';

/**
 * [V, H] ~ [V, size] [size, H]: the best approximation of that rank in the mean square over rows counted `weights` times (Eckart and
 * Young 1936), by the eigenvectors of the weighted second moments.
 */
export function factorise(
  table: tf.Tensor2D,
  weights: Float64Array,
  size: number,
): { readonly narrow: tf.Tensor2D; readonly projection: tf.Tensor2D } {
  const width = table.shape[1];
  return tf.tidy(() => {
    const rows = tf.tensor2d(Float32Array.from(weights), [weights.length, 1]);
    const moments = tf.matMul(table, tf.mul(table, rows), true, false).dataSync();
    const leading = Float32Array.from(symmetricEigen(moments, width).vectors.subarray(0, size * width));
    const projection = tf.tensor2d(leading, [size, width]);
    return { narrow: tf.matMul<tf.Tensor2D>(table, projection, false, true), projection };
  });
}
