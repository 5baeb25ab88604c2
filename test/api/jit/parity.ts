/** A function of tensors run by merak.jit and by tfjs's CPU backend, compared element by element. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect } from 'vitest';
import { jit } from '../../../src/index.js';

/** Generated cases per property: more where MERAK_CASES says so. */
export const NUM_RUNS = Math.max(200, Number(process.env.MERAK_CASES ?? 0));

export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

export const CLOSE: Tolerance = { relative: 1e-5, absolute: 1e-6 };

type Leaf = { path: string; tensor: tf.Tensor };

/**
 * Asserts that both agree in structure, shape, dtype and every element (floats within `tolerance`, NaN and infinities
 * alike), and that nothing ran outside the native engine. Where tfjs itself throws, the case is discarded (too many of them
 * fail the property).
 */
export async function expectParity<Args extends readonly unknown[]>(
  fn: (...args: Args) => unknown,
  args: Args,
  tolerance: Tolerance = CLOSE,
): Promise<void> {
  const before = tf.memory().numTensors;
  let expected: unknown;
  try {
    expected = tf.tidy(() => fn(...args) as tf.TensorContainer);
  } catch {
    fc.pre(false);
  }
  const compiled = jit(fn, { threads: 1 });
  try {
    const actual = await compiled(...args);
    expect(compiled.fallbackKernels).toEqual([]);
    const [wanted, got] = [leavesOf(expected, 'result'), leavesOf(actual, 'result')];
    expect(got.map(({ path }) => path)).toEqual(wanted.map(({ path }) => path));
    for (const [index, { path, tensor }] of wanted.entries()) compare(path, got[index]!.tensor, tensor, tolerance);
    for (const { tensor } of [...wanted, ...got]) tensor.dispose();
    // What a scalar in the function's body made stays with tfjs's globals; tensors of ours must not.
    expect(tf.memory().numTensors).toBe(before);
  } finally {
    compiled.dispose();
  }
}

/** `body` on generated cases; the seed and the shrunk case are in the message of a failure. */
export async function forAll<T>(cases: fc.Arbitrary<T>, body: (value: T) => Promise<void>): Promise<void> {
  await fc.assert(fc.asyncProperty(cases, body), { numRuns: NUM_RUNS });
}

function compare(path: string, actual: tf.Tensor, expected: tf.Tensor, { relative, absolute }: Tolerance): void {
  expect({ path, shape: actual.shape, dtype: actual.dtype }).toEqual({
    path,
    shape: expected.shape,
    dtype: expected.dtype,
  });
  const [a, e] = [actual.dataSync(), expected.dataSync()];
  for (let i = 0; i < e.length; i++) {
    const [x, y] = [Number(a[i]), Number(e[i])];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const bound = expected.dtype === 'float32' ? absolute + relative * Math.abs(y) : 0;
    if (!(Math.abs(x - y) <= bound)) {
      throw new Error(`${path}[${i}] of ${expected.dtype}[${expected.shape.join()}] is ${x}, tfjs has ${y}`);
    }
  }
}

function leavesOf(value: unknown, path: string): Leaf[] {
  if (value instanceof tf.Tensor) return [{ path, tensor: value }];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, item]) => leavesOf(item, `${path}.${name}`));
}
