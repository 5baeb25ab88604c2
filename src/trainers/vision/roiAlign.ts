/** RoIAlign (Mask R-CNN, section 3) as two matrix products, exact and differentiable in the features. */
import * as tf from '@tensorflow/tfjs';
import { coordinates } from './boxes.js';

export interface RoiAlignOptions {
  /** Pixels per cell of the feature map. */
  readonly stride: number;
  /** Bins along each side. */
  readonly bins: number;
  /** Sampling points of a bin along each side. Default 2. */
  readonly samples?: number;
}

/**
 * features [b, h, w, c], boxes [b, r, 4] in pixels: [b, r, bins, bins, c]. A bin is the mean of `samples` x `samples`
 * points, each interpolated bilinearly between the centres of cells and clamped to them. Interpolation and mean are products of a
 * vertical and a horizontal part, so that the whole is rows x features x columns with weights [b, r, bins, h] and
 * [b, r, bins, w].
 */
export function roiAlign(features: tf.Tensor4D, boxes: tf.Tensor, options: RoiAlignOptions): tf.Tensor {
  const { stride, bins, samples = 2 } = options;
  const [batch, height, width, channels] = features.shape;
  const numBoxes = boxes.shape[1]!;
  const [x1, y1, x2, y2] = coordinates(boxes);
  const rows = weights(y1, y2, height, { stride, bins, samples });
  const columns = weights(x1, x2, width, { stride, bins, samples });
  const flat = tf.reshape(features, [batch, height, width * channels]);
  const vertical = tf.matMul(tf.reshape(rows, [batch, numBoxes * bins, height]), flat);
  const across = tf.transpose(tf.reshape(vertical, [batch, numBoxes, bins, width, channels]), [0, 1, 3, 2, 4]);
  const pooled = tf.matMul(columns, tf.reshape(across, [batch, numBoxes, width, bins * channels]));
  return tf.transpose(tf.reshape(pooled, [batch, numBoxes, bins, bins, channels]), [0, 1, 3, 2, 4]);
}

/** [b, r, bins, cells]: how much of each cell a bin between `from` and `to` [b, r] takes along one axis. */
function weights(from: tf.Tensor, to: tf.Tensor, cells: number, options: Required<RoiAlignOptions>): tf.Tensor {
  const { stride, bins, samples } = options;
  const numPoints = bins * samples;
  const [batch, numBoxes] = from.shape as [number, number];
  const fractions = tf.tensor1d(Array.from({ length: numPoints }, (_, i) => (i + 0.5) / numPoints));
  const length = tf.expandDims(tf.sub(to, from), 2);
  const pixels = tf.add(tf.expandDims(from, 2), tf.mul(length, fractions));
  const points = tf.clipByValue(tf.sub(tf.div(pixels, stride), 0.5), 0, cells - 1);
  const centres = tf.tensor1d(Array.from({ length: cells }, (_, i) => i));
  const near = tf.relu(tf.sub(1, tf.abs(tf.sub(tf.expandDims(points, 3), centres))));
  return tf.mean(tf.reshape(near, [batch, numBoxes, bins, samples, cells]), 3);
}
