/** The dynamic relevance graph: RoIs and support prototypes as nodes, their correlation as edges (arXiv 2108.02235). */
import * as tf from '@tensorflow/tfjs';
import type { Weights } from './trunk.js';

export type Architecture = 'normal' | 'residual';

/** Added before logarithms and divisions. */
const EPSILON = 1e-12;
const SLOPE = 0.2;

/** [n, n]: Pearson correlation of the rows of features [n, d], negatives cut to zero, 1 on the diagonal. */
export function relevance(features: tf.Tensor): tf.Tensor {
  const centred = tf.sub(features, tf.mean(features, 1, true));
  const length = tf.sqrt(tf.add(tf.sum(tf.square(centred), 1, true), 1e-8));
  const unit = tf.div(centred, length);
  const self = tf.eye(features.shape[0]!);
  return tf.add(tf.mul(tf.relu(tf.matMul(unit, unit, false, true)), tf.sub(1, self)), self);
}

/** One weight [width, width] per layer, as its difference from the identity it starts at. */
export function gcnWeights(weights: Weights, layers: number, width: number): tf.Variable[] {
  return Array.from({ length: layers }, (_, i) => weights.constant(`gcn/layer${i}`, [width, width], 0));
}

/**
 * Class values [n, width] of every node, rows of length 1, none negative: X <- leaky(A X W), the last layer without
 * the slope, each W the identity plus its entry of `layers`; `normal` multiplies the result by the first input, `residual` each layer's output by its input.
 */
export function graphConvolution(
  input: tf.Tensor,
  edges: tf.Tensor,
  layers: readonly tf.Tensor[],
  architecture: Architecture,
): tf.Tensor {
  const width = input.shape[1]!;
  let x = input;
  for (const [i, weight] of layers.entries()) {
    const mixed = tf.matMul(tf.matMul(edges, x), tf.add(weight, tf.eye(width)));
    const output = i === layers.length - 1 ? mixed : tf.leakyRelu(mixed, SLOPE);
    x = architecture === 'residual' ? tf.mul(output, x) : output;
  }
  if (architecture === 'normal') x = tf.mul(x, input);
  return tf.relu(tf.div(x, tf.sqrt(tf.add(tf.sum(tf.square(x), 1, true), EPSILON))));
}

/** Mean over the nodes of weight 1 of -log(x at the label): values [n, width], targets one-hot [n, width], weights [n]. */
export function relevanceLoss(values: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const each = tf.neg(tf.sum(tf.mul(tf.log(tf.add(values, EPSILON)), targets), 1));
  return tf.div(tf.sum(tf.mul(each, weights)), tf.maximum(tf.sum(weights), 1));
}
