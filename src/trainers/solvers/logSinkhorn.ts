/** Sinkhorn's scaling in the log domain, rows over the workers of a group. */
import * as tf from '@tensorflow/tfjs';
import { nn } from '../../index.js';

export interface LogMarginals {
  /** [rows here] natural logarithms of the rows' masses. */
  readonly rows: tf.Tensor1D;
  /** [columns], on every worker. */
  readonly columns: tf.Tensor1D;
}

/** logKernel_ij + f_i + g_j is the logarithm of the scaled kernel. */
export interface Potentials {
  readonly f: tf.Tensor1D;
  readonly g: tf.Tensor1D;
}

/**
 * `iterations` rounds of Sinkhorn's algorithm (Cuturi 2013; in the log domain, Peyre and Cuturi 2019, section 4.4): rows
 * are fitted, then columns, so that columns hold exactly afterwards. To be called in a function of a group (or anywhere,
 * for one worker). Nothing is exponentiated that could overflow, whatever the spread of the kernel.
 *
 * @param logKernel [rows here, columns]
 * @param g potentials of the columns to begin with; default 0
 */
export function logSinkhorn(
  logKernel: tf.Tensor2D,
  marginals: LogMarginals,
  iterations: number,
  g: tf.Tensor1D = tf.zerosLike(marginals.columns),
): Potentials {
  let f = tf.zerosLike(marginals.rows);
  let columns = g;
  for (let round = 0; round < iterations; round++) {
    f = tf.sub(marginals.rows, tf.logSumExp(tf.add(logKernel, columns), 1));
    columns = tf.sub(marginals.columns, columnLogSumExp(tf.add(logKernel, tf.expandDims(f, 1))));
  }
  return { f, g: columns };
}

/** log sum_i exp(x_ij) over the rows of all workers: [columns]. */
export function columnLogSumExp(x: tf.Tensor2D): tf.Tensor1D {
  const highest = nn.allReduce(tf.max(x, 0) as tf.Tensor1D, 'max');
  const sum = nn.allReduce(tf.sum(tf.exp(tf.sub(x, highest)), 0) as tf.Tensor1D);
  return tf.add(highest, tf.log(sum));
}
