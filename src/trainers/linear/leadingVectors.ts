/** The leading left singular vectors of a large matrix, on the engine. */
import * as tf from '@tensorflow/tfjs';
import { jit, MerakError, nn } from '../../index.js';
import { symmetricEigen } from './eigen.js';

export interface LeadingOptions {
  /** How many. */
  readonly size: number;
  /** Power iterations; default 6. */
  readonly iterations?: number;
  readonly seed?: number;
}

export interface Leading {
  /** [m, size], orthonormal columns, the largest singular value first. */
  readonly vectors: tf.Tensor2D;
  /** Descending. */
  readonly values: Float64Array;
}

const EXTRA = 12;

/**
 * By randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4), orthonormalised through the small Gram
 * matrix. @throws MerakError config/invalid: more vectors than the matrix has rows or columns
 */
export async function leadingVectors(
  matrix: tf.Tensor2D,
  { size, iterations = 6, seed = 0 }: LeadingOptions,
): Promise<Leading> {
  const [m, n] = matrix.shape;
  if (size > Math.min(m, n)) {
    throw new MerakError('config/invalid', 'a matrix has not so many singular vectors', {
      path: 'size',
      expected: `at most ${Math.min(m, n)}, the smaller extent of [${m}, ${n}]`,
      received: String(size),
      hint: 'ask for fewer, or give more text',
    });
  }
  const width = Math.min(size + EXTRA, m, n);
  // A variable crosses to the engine once.
  const a = tf.variable(matrix, false);
  const start = jit(() => nn.randomNormal([n, width]), { seed });
  const power = jit((q: tf.Tensor2D, turn: tf.Tensor2D) => {
    const z = tf.matMul(a, tf.matMul(a, tf.matMul(q, turn)), true) as tf.Tensor2D;
    return { z, gram: tf.matMul(z, z, true) };
  });
  const project = jit((q: tf.Tensor2D, turn: tf.Tensor2D) => {
    const y = tf.matMul(a, tf.matMul(q, turn));
    return { y, gram: tf.matMul(y, y, true) };
  });
  const finish = jit((y: tf.Tensor2D, turn: tf.Tensor2D) => tf.matMul(y, turn));
  try {
    let q = (await start()) as tf.Tensor2D;
    let turn = tf.eye(width) as tf.Tensor2D;
    for (let i = 0; i < iterations; i++) {
      const { z, gram } = await power(q, turn);
      tf.dispose([q, turn]);
      q = z as tf.Tensor2D;
      ({ turn } = await orthonormaliser(gram as tf.Tensor2D, width));
    }
    const { y, gram } = await project(q, turn);
    tf.dispose([q, turn]);
    const last = await orthonormaliser(gram as tf.Tensor2D, size);
    const vectors = (await finish(y as tf.Tensor2D, last.turn)) as tf.Tensor2D;
    tf.dispose([y, last.turn]);
    return { vectors, values: last.values.map((value) => Math.sqrt(Math.max(value, 0))) };
  } finally {
    for (const compiled of [start, power, project, finish]) compiled.dispose();
    a.dispose();
  }
}

/** V diag(lambda^-1/2) of a Gram matrix [w, w], its first `size` columns; directions that are not there become 0. */
async function orthonormaliser(gram: tf.Tensor2D, size: number): Promise<{ turn: tf.Tensor2D; values: Float64Array }> {
  const [n] = gram.shape;
  const { values, vectors } = symmetricEigen(await gram.data(), n);
  gram.dispose();
  const turn = new Float32Array(n * size);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < size; j++) {
      const value = values[j]!;
      if (value > 1e-7 * values[0]!) turn[i * size + j] = vectors[i * n + j]! / Math.sqrt(value);
    }
  }
  return { turn: tf.tensor2d(turn, [n, size]), values: values.slice(0, size) };
}
