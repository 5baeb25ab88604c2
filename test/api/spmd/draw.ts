/** Inputs and comparisons of the spmd tests. */
import * as tf from '@tensorflow/tfjs';

export function random(shape: [number, number], seed: number): tf.Tensor2D {
  return tf.randomNormal(shape, 0, 1, 'float32', seed);
}

/** The largest difference, relative to the largest magnitude expected. */
export function difference(found: tf.Tensor, expected: tf.Tensor): number {
  if (found.shape.join() !== expected.shape.join()) return Number.POSITIVE_INFINITY;
  const [x, y] = [Float32Array.from(found.dataSync()), Float32Array.from(expected.dataSync())];
  const scale = y.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
  return x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!) / scale), 0);
}
