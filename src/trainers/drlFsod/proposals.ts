/** The region proposal network: objectness and offsets of anchors, its losses, its proposals. */
import * as tf from '@tensorflow/tfjs';
import { decodeOffsets, encodeOffsets, overlaps, pick, settled, smoothL1, unsuppressed } from '../vision/boxes.js';
import { convolution, type Weights } from './trunk.js';

/** Faster R-CNN, section 3.1.2. */
const POSITIVE = 0.7;
const NEGATIVE = 0.3;
const SUPPRESSION = 0.7;

/** The true boxes of a batch: boxes [b, m, 4], and for each of [b, m] whether it is there, and whether only to be left alone. */
export interface TrueBoxes {
  readonly boxes: tf.Tensor;
  readonly present: tf.Tensor;
  readonly ignored: tf.Tensor;
}

export interface Regions {
  /** [b, a] logits */
  readonly objectness: tf.Tensor;
  /** [b, a, 4] */
  readonly offsets: tf.Tensor;
}

export function proposalNetwork(weights: Weights, channels: number, numSizes: number) {
  const shared = convolution(weights, 'rpn/shared', { size: 3, inputs: channels, outputs: channels });
  const scores = convolution(weights, 'rpn/objectness', { size: 1, inputs: channels, outputs: numSizes });
  const moves = convolution(weights, 'rpn/offsets', { size: 1, inputs: channels, outputs: 4 * numSizes });
  return (features: tf.Tensor): Regions => {
    const x = tf.relu(shared(features));
    const [batch, height, width] = features.shape as [number, number, number];
    const count = height * width * numSizes;
    return {
      objectness: tf.reshape(tf.mul(scores(x), 0.1), [batch, count]),
      offsets: tf.reshape(tf.mul(moves(x), 0.1), [batch, count, 4]),
    };
  };
}

/**
 * The class and the box loss, each [b]. An anchor is positive when it overlaps a true box by 0.7 or is the best of one,
 * negative below 0.3. Positives and negatives weigh half each: what sampling as many of both has as its mean.
 */
export function proposalLosses({ objectness, offsets }: Regions, anchors: tf.Tensor, truth: TrueBoxes) {
  const { boxes, present, ignored } = truth;
  const count = anchors.shape[0]!;
  const all = tf.expandDims(anchors, 0);
  const found = overlaps(all, boxes);
  const shared = tf.mul(found, tf.expandDims(present, 1));
  const best = tf.max(shared, 2);
  const bestOfBox = tf.max(shared, 1, true);
  const isBest = tf.mul(
    tf.cast(tf.greaterEqual(shared, bestOfBox), 'float32'),
    tf.cast(tf.greater(bestOfBox, 0.05), 'float32'),
  );
  const positive = tf.maximum(tf.cast(tf.greaterEqual(best, POSITIVE), 'float32'), tf.max(isBest, 2));
  const left = tf.max(tf.mul(found, tf.expandDims(ignored, 1)), 2);
  const calm = tf.mul(tf.cast(tf.less(best, NEGATIVE), 'float32'), tf.cast(tf.less(left, NEGATIVE), 'float32'));
  const negative = tf.mul(calm, tf.sub(1, positive));
  const numPositive = tf.maximum(tf.sum(positive, 1), 1);
  const numNegative = tf.maximum(tf.sum(negative, 1), 1);
  const missed = tf.div(tf.sum(tf.mul(tf.softplus(tf.neg(objectness)), positive), 1), numPositive);
  const mistaken = tf.div(tf.sum(tf.mul(tf.softplus(objectness), negative), 1), numNegative);
  const nearest = pick(boxes, tf.argMax(shared, 2));
  const wanted = encodeOffsets(tf.tile(all, [boxes.shape[0]!, 1, 1]), nearest);
  const away = tf.div(tf.sum(tf.mul(smoothL1(tf.sub(offsets, wanted)), positive), 1), numPositive);
  if (objectness.shape[1] !== count) throw new RangeError(`${count} anchors for ${objectness.shape[1]} scores`);
  return { objectness: tf.mul(tf.add(missed, mistaken), 0.5), box: away };
}

/** The best `count` of the anchors moved by their offsets, after suppression among four times as many: [b, count, 4]. */
export function propose(
  regions: Regions,
  anchors: tf.Tensor,
  size: { width: number; height: number },
  count: number,
): tf.Tensor {
  const { objectness, offsets } = regions;
  const numBefore = Math.min(4 * count, anchors.shape[0]!);
  const { indices } = tf.topk(objectness, numBefore);
  const from = tf.gather(anchors, indices);
  const moved = decodeOffsets(from, settled(pick(offsets, indices)), size.width, size.height);
  // What is suppressed comes after what is not; both keep their order.
  const order = tf.sub(tf.mul(unsuppressed(moved, SUPPRESSION), numBefore), tf.range(0, numBefore));
  return settled(pick(moved, tf.topk(order, Math.min(count, numBefore)).indices));
}
