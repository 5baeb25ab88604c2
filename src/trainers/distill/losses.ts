/** The losses of multi-stage distillation (Ding et al. 2022, arXiv 2209.05869). */
import * as tf from '@tensorflow/tfjs';
import { nn } from '../../index.js';

/** Mean over samples and dimensions. */
export function meanSquare(a: tf.Tensor, b: tf.Tensor): tf.Scalar {
  return tf.mean(tf.square(tf.sub(a, b)));
}

/** [n, H] x [m, H] -> [n, m] of cosines; 0 for a vector of zeros. */
export function cosines(a: tf.Tensor, b: tf.Tensor): tf.Tensor2D {
  return tf.matMul(unitRows(a), unitRows(b), false, true);
}

/** The square root is kept off 0, where it has no gradient. */
function unitRows(x: tf.Tensor): tf.Tensor2D {
  return tf.mul(x, tf.rsqrt(tf.maximum(tf.sum(tf.square(x), 1, true), 1e-12)));
}

/** Both languages' vectors against those of the English sentence: stages 1 and 4. */
export function distillation(english: tf.Tensor, foreign: tf.Tensor, teacher: tf.Tensor): tf.Tensor {
  return tf.add(meanSquare(english, teacher), meanSquare(foreign, teacher));
}

/**
 * MSE(cos(S(en), S(xx)), cos(T(en), T(en))) over the whole batch, gathered from all replicas: the multilingual contrastive
 * term of stage 4, a regression on the teacher's similarity matrix.
 */
export function contrast(english: tf.Tensor, foreign: tf.Tensor, teacher: tf.Tensor): tf.Scalar {
  const [a, b, t] = [english, foreign, teacher].map((x) => nn.gatherBatch(x)) as [tf.Tensor, tf.Tensor, tf.Tensor];
  return meanSquare(cosines(a, b), cosines(t, t));
}
