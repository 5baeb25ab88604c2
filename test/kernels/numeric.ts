/** Numeric references shared by the kernel tests: deterministic data, finite differences, comparison. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';

/** Pseudo-random values in [-1, 1], the same every run. */
export function values(size: number, seed = 1): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
}

export function tensor(shape: number[], seed = 1): tf.Tensor {
  return tf.tensor(
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    shape,
  );
}

export function close(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relative: number,
  absolute = relative,
): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (a === e) continue;
    if (!(Math.abs(a - e) <= absolute + relative * Math.abs(e))) {
      expect.fail(`element ${i}: ${a} is not within ${absolute} + ${relative} * |${e}|`);
    }
  }
}

/** Checks tfjs's gradient of sum(weights * f(xs)) against central differences, for every x. */
export function checkGradient(
  f: (...xs: tf.Tensor[]) => tf.Tensor,
  xs: tf.Tensor[],
  tolerance = 1e-2,
  step = 1e-2,
): void {
  tf.tidy(() => {
    const shape = f(...xs).shape;
    const weights = tensor(shape, 77);
    const scalar = (...at: tf.Tensor[]): tf.Scalar => tf.sum(tf.mul(f(...at), weights)) as tf.Scalar;
    const analytic = tf
      .grads(scalar)(xs)
      .map((g) => g.dataSync());
    xs.forEach((x, which) => {
      const data = x.dataSync();
      const numeric = data.map((value, i) => {
        const at = (moved: number): number => {
          const changed = Float32Array.from(data);
          changed[i] = moved;
          const inputs = xs.map((other, k) => (k === which ? tf.tensor(changed, x.shape) : other));
          return tf.tidy(() => scalar(...inputs).dataSync()[0]!);
        };
        return (at(value + step) - at(value - step)) / (2 * step);
      });
      close(analytic[which]!, numeric, tolerance, tolerance);
    });
  });
}
