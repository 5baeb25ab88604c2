/** Broadcasting and its transpose, by kernels that neither unroll nor capture constants. */
import * as tf from '@tensorflow/tfjs';
import { range } from './access.js';

/** Sums `gradient` over the dims along which a value of `shape` was broadcast to reach its shape. */
export function sumTo(gradient: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const extra = gradient.rank - shape.length;
  const axes = range(gradient.rank).filter(
    (dim) => dim < extra || (shape[dim - extra] === 1 && gradient.shape[dim] !== 1),
  );
  const summed = axes.length === 0 ? gradient : tf.sum(gradient, axes);
  return reshapeTo(summed, shape);
}

/** Repeats `x` (whose dims are 1 or those of `shape`, aligned at the end) to `shape`. */
export function broadcastTo(x: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const extra = shape.length - x.rank;
  const aligned = reshapeTo(x, [...Array<number>(extra).fill(1), ...x.shape]);
  const repetitions = shape.map((size, dim) => (aligned.shape[dim] === size ? 1 : size));
  return repetitions.every((count) => count === 1) ? aligned : tf.tile(aligned, repetitions);
}

export function reshapeTo(x: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const same = x.rank === shape.length && x.shape.every((size, dim) => size === shape[dim]);
  return same ? x : tf.reshape(x, [...shape]);
}

/** Zeros like `x`, without a captured constant. */
export function zeros(x: tf.Tensor): tf.Tensor {
  return tf.fill([...x.shape], 0, 'float32');
}
