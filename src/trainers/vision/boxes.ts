/** Boxes [..., 4] as (x1, y1, x2, y2) in pixels: overlaps, offsets between boxes, suppression; all of fixed shapes. */
import * as tf from '@tensorflow/tfjs';

/** Offsets are divided by these, so that their spread is about 1 (Fast R-CNN's published code uses the same). */
const SPREAD = [0.1, 0.1, 0.2, 0.2] as const;
const MAX_LOG_SCALE = Math.log(1000 / 16);
const EPSILON = 1e-6;

/** The four coordinates, each without the last dim. */
export function coordinates(boxes: tf.Tensor): [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor] {
  const shape = boxes.shape.slice(0, -1);
  return tf.split(boxes, 4, -1).map((part) => tf.reshape(part, shape)) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
}

/** Intersection over union of a [b, n, 4] and c [b, m, 4]: [b, n, m]. Boxes without area overlap nothing. */
export function overlaps(a: tf.Tensor, c: tf.Tensor): tf.Tensor {
  const [ax1, ay1, ax2, ay2] = coordinates(tf.expandDims(a, 2));
  const [cx1, cy1, cx2, cy2] = coordinates(tf.expandDims(c, 1));
  const width = tf.relu(tf.sub(tf.minimum(ax2, cx2), tf.maximum(ax1, cx1)));
  const height = tf.relu(tf.sub(tf.minimum(ay2, cy2), tf.maximum(ay1, cy1)));
  const both = tf.mul(width, height);
  const areaA = tf.mul(tf.relu(tf.sub(ax2, ax1)), tf.relu(tf.sub(ay2, ay1)));
  const areaC = tf.mul(tf.relu(tf.sub(cx2, cx1)), tf.relu(tf.sub(cy2, cy1)));
  return tf.div(both, tf.add(tf.sub(tf.add(areaA, areaC), both), EPSILON));
}

interface Centred {
  readonly x: tf.Tensor;
  readonly y: tf.Tensor;
  readonly width: tf.Tensor;
  readonly height: tf.Tensor;
}

function centred(boxes: tf.Tensor): Centred {
  const [x1, y1, x2, y2] = coordinates(boxes);
  const width = tf.maximum(tf.sub(x2, x1), 1);
  const height = tf.maximum(tf.sub(y2, y1), 1);
  return { x: tf.add(x1, tf.mul(width, 0.5)), y: tf.add(y1, tf.mul(height, 0.5)), width, height };
}

/** Offsets [..., 4] that lead from `from` to `to` (R-CNN, appendix C), over their spread. */
export function encodeOffsets(from: tf.Tensor, to: tf.Tensor): tf.Tensor {
  const [a, c] = [centred(from), centred(to)];
  return tf.stack(
    [
      tf.div(tf.sub(c.x, a.x), tf.mul(a.width, SPREAD[0])),
      tf.div(tf.sub(c.y, a.y), tf.mul(a.height, SPREAD[1])),
      tf.div(tf.log(tf.div(c.width, a.width)), SPREAD[2]),
      tf.div(tf.log(tf.div(c.height, a.height)), SPREAD[3]),
    ],
    -1,
  );
}

/** The inverse of `encodeOffsets`, cut to an image of that size. */
export function decodeOffsets(from: tf.Tensor, offsets: tf.Tensor, width: number, height: number): tf.Tensor {
  const a = centred(from);
  const [dx, dy, dw, dh] = coordinates(offsets);
  const x = tf.add(a.x, tf.mul(tf.mul(dx, SPREAD[0]), a.width));
  const y = tf.add(a.y, tf.mul(tf.mul(dy, SPREAD[1]), a.height));
  const half = (size: tf.Tensor, by: tf.Tensor, spread: number): tf.Tensor =>
    tf.mul(tf.mul(tf.exp(tf.minimum(tf.mul(by, spread), MAX_LOG_SCALE)), size), 0.5);
  const [w, h] = [half(a.width, dw, SPREAD[2]), half(a.height, dh, SPREAD[3])];
  const cut = (value: tf.Tensor, limit: number): tf.Tensor => tf.clipByValue(value, 0, limit);
  return tf.stack(
    [cut(tf.sub(x, w), width), cut(tf.sub(y, h), height), cut(tf.add(x, w), width), cut(tf.add(y, h), height)],
    -1,
  );
}

/**
 * Which of boxes [b, n, 4], best first, no better box overlaps by more than `threshold`: [b, n] of 0 and 1. A box that
 * is itself suppressed suppresses too ("Fast NMS", YOLACT, section 3.3), which needs no loop and no shape from data.
 */
export function unsuppressed(boxes: tf.Tensor, threshold: number): tf.Tensor {
  const count = boxes.shape[1]!;
  const better = tf.tensor2d(
    Array.from({ length: count }, (_, i) => Array.from({ length: count }, (_, j) => Number(j < i))),
  );
  const worst = tf.max(tf.mul(overlaps(boxes, boxes), better), 2);
  return tf.cast(tf.lessEqual(worst, threshold), 'float32');
}

/** Rows of boxes [b, n, d] at places [b, k]: [b, k, d]. A product with one-hot rows, so its gradient is one too. */
export function pick(values: tf.Tensor, places: tf.Tensor): tf.Tensor {
  const rows = tf.oneHot(tf.cast(places, 'int32') as tf.Tensor1D, values.shape[1]!, 1, 0, 'float32');
  return tf.matMul(rows as tf.Tensor3D, values as tf.Tensor3D);
}

/**
 * The boxes as given, to 1/64 pixel, and constant for the gradient (that of rounding is zero): Faster R-CNN does not
 * differentiate through the coordinates of its proposals.
 */
export function settled(boxes: tf.Tensor): tf.Tensor {
  return tf.div(tf.round(tf.mul(boxes, 64)), 64);
}

/** Smooth L1 (Fast R-CNN, equation 3) summed over the last dim. */
export function smoothL1(difference: tf.Tensor): tf.Tensor {
  const size = tf.abs(difference);
  const near = tf.minimum(size, 1);
  return tf.sum(tf.sub(tf.add(tf.mul(tf.square(near), 0.5), size), near), -1);
}
