/** What one side of a plan Q R' needs of the other: products with C = |x|^2 1' + 1 |y|^2' - 2 X Y' that never form it. */
import * as tf from '@tensorflow/tfjs';
import { nn } from '../../index.js';

export interface Moments {
  /** F' 1: [rank]. */
  readonly sums: tf.Tensor1D;
  /** F' times shifted norms: [1, rank]. */
  readonly ofNorms: tf.Tensor2D;
  /** points' F: [d, rank]. */
  readonly ofPoints: tf.Tensor2D;
  /** F' F: [rank, rank]. */
  readonly gram: tf.Tensor2D;
}

/** What the other side needs of a factor F and its points, in one all-reduce. */
export function moments(points: tf.Tensor2D, shiftedNorms: tf.Tensor, factor: tf.Tensor2D): Moments {
  const d = points.shape[1];
  const rank = factor.shape[1];
  const left = joined([ones(points), column(shiftedNorms), points, factor]);
  const all = nn.allReduce(tf.matMul(left, factor, true));
  return {
    sums: tf.reshape(rowsOf(all, 0, 1), [rank]),
    ofNorms: rowsOf(all, 1, 1),
    ofPoints: rowsOf(all, 2, d),
    gram: rowsOf(all, 2 + d, rank),
  };
}

/** G times the other side's factor, this worker's rows: [rows, rank]. */
export function gradient(
  points: tf.Tensor2D,
  shiftedNorms: tf.Tensor,
  { sums, ofNorms, ofPoints }: Moments,
): tf.Tensor2D {
  const outer = tf.mul(column(shiftedNorms), sums);
  return tf.sub(tf.add(outer, ofNorms), tf.mul(tf.matMul(points, ofPoints), 2));
}

/** A projected gradient step. */
export function stepped(factor: tf.Tensor2D, slope: tf.Tensor2D, curvature: tf.Tensor): tf.Tensor2D {
  return tf.relu(tf.sub(factor, tf.div(slope, curvature)) as tf.Tensor2D);
}

const NUM_POWERS = 6;

/** mu (|F'1|^2 + rows |F'F|_2); the norm from above by Collatz and Wielandt's quotients, as F'F >= 0. */
export function lipschitz({ sums, gram }: Moments, numRows: number, mu: number): tf.Tensor {
  let vector = tf.ones([gram.shape[0], 1]) as tf.Tensor2D;
  for (let power = 0; power < NUM_POWERS; power++) {
    const next = tf.matMul(gram, vector);
    // A little everywhere: the quotients bound the norm for positive vectors only.
    vector = tf.add(tf.div(next, tf.add(tf.max(next), 1e-30)), 1e-3);
  }
  const norm = tf.max(tf.div(tf.matMul(gram, vector), vector));
  return tf.add(tf.mul(tf.add(tf.sum(tf.square(sums)), tf.mul(norm, numRows)), mu), 1e-30);
}

function rowsOf(x: tf.Tensor, begin: number, size: number): tf.Tensor2D {
  return tf.slice(x as tf.Tensor2D, [begin, 0], [size, x.shape[1]!]);
}

export function rowNorms(points: tf.Tensor2D): tf.Tensor1D {
  return tf.sum(tf.square(points), 1);
}

export function apply(factor: tf.Tensor2D, sums: tf.Tensor): tf.Tensor {
  return tf.squeeze(tf.matMul(factor, tf.expandDims(sums, 1) as tf.Tensor2D), [1]);
}

export function column(vector: tf.Tensor): tf.Tensor2D {
  return tf.expandDims(vector, 1) as tf.Tensor2D;
}

export function ones(like: tf.Tensor2D): tf.Tensor2D {
  return tf.ones([like.shape[0], 1]);
}

export function joined(parts: tf.Tensor2D[]): tf.Tensor2D {
  return tf.concat(parts, 1);
}
