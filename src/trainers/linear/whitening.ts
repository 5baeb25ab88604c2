/** Whitening of vectors: mean 0, covariance 1 (Su et al. 2021). */
import * as tf from '@tensorflow/tfjs';
import { jit } from '../../index.js';
import { symmetricEigen } from './eigen.js';

export interface Whitening {
  /** [d]. */
  readonly mean: tf.Tensor1D;
  /** [d, d]: (x - mean) W is white; columns by falling variance. */
  readonly matrix: tf.Tensor2D;
}

/** Of rows [n, d]; directions without variance become 0. */
export async function fitWhitening(rows: tf.Tensor2D): Promise<Whitening> {
  const moments = jit((x: tf.Tensor2D) => {
    const mean = x.mean(0);
    const centred = x.sub(mean) as tf.Tensor2D;
    return { mean, covariance: tf.matMul(centred, centred, true).div(x.shape[0]) };
  });
  try {
    const { mean, covariance } = await moments(rows);
    const d = rows.shape[1];
    const { values, vectors } = symmetricEigen(await covariance!.data(), d);
    covariance!.dispose();
    const matrix = Float32Array.from(vectors, (entry, i) => {
      const value = values[i % d]!;
      return value > 1e-9 * values[0]! ? entry / Math.sqrt(value) : 0;
    });
    return { mean: mean as tf.Tensor1D, matrix: tf.tensor2d(matrix, [d, d]) };
  } finally {
    moments.dispose();
  }
}
