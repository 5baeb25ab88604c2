/** The leading singular vectors of a large matrix whose rows lie on the workers. */
import * as tf from '@tensorflow/tfjs';
import { loadState, nn, type SpmdGroup, saveState, shard } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { inverseCholesky } from '../linalg/cholesky.js';
import { symmetricEigen } from '../linalg/symmetricEigen.js';

export interface SvdOptions {
  readonly numComponents: number;
  /** Columns iterated beyond those kept: what they catch no longer disturbs the last ones kept. */
  readonly oversampling: number;
  readonly iterations: number;
  /** The rows of U are multiplied by the singular values to this power. */
  readonly power: number;
  readonly seed: number;
}

export interface TruncatedSvd {
  /** [rows, components]: U S^power. */
  readonly left: Float32Array;
  /** Descending. */
  readonly values: Float64Array;
}

/**
 * By subspace iteration from random columns, orthonormalised through their Gram matrices (Halko, Martinsson and Tropp 2011,
 * algorithm 4.4), and a Rayleigh-Ritz step at the end. Killed and resumed, it goes on with the iteration after.
 *
 * @param matrix [rows, columns], with as many of either as `numComponents` at least
 */
export async function truncatedSvd(
  context: Pick<TrainerContext, 'iterate' | 'spmd'>,
  name: string,
  matrix: { readonly data: Float32Array; readonly rows: number; readonly columns: number },
  options: SvdOptions,
): Promise<TruncatedSvd> {
  const { rows, columns } = matrix;
  const width = Math.min(rows, columns, options.numComponents + options.oversampling);
  const initial = tf.randomNormal([columns, width], 0, 1, 'float32', options.seed + 1) as tf.Tensor2D;
  const basis = tf.variable(initial, false);
  initial.dispose();
  const group = await context.spmd();
  try {
    const steps = await subspaceSteps(group, matrix);
    await context.iterate(name, {
      steps: options.iterations,
      keep: {
        save: (folder) => saveState(folder, { basis }),
        load: async (folder) => assign(basis, (await loadState(folder)).tensors.basis as tf.Tensor2D),
      },
      async step() {
        const left = await orthonormal(steps, await steps.forward(basis));
        const right = await orthonormal(steps, await steps.backward(left));
        left.dispose();
        assign(basis, right);
        return {};
      },
    });
    return await ritz(steps, basis, width, options);
  } finally {
    basis.dispose();
    await group.close();
  }
}

interface Steps {
  /** [rows, columns] x [columns, k]. */
  forward(x: tf.Tensor): Promise<tf.Tensor2D>;
  /** [columns, rows] x [rows, k]. */
  backward(x: tf.Tensor): Promise<tf.Tensor2D>;
  /** [n, k] -> [k, k]. */
  gram(x: tf.Tensor): Promise<tf.Tensor2D>;
  times(x: tf.Tensor, y: tf.Tensor): Promise<tf.Tensor2D>;
}

async function subspaceSteps(
  group: SpmdGroup,
  { data, rows, columns }: { readonly data: Float32Array; readonly rows: number; readonly columns: number },
): Promise<Steps> {
  const state = group.state('matrix', { shape: [rows, columns], placement: shard(0) });
  await state.writeArray(data);
  const product = (a: tf.Tensor, b: tf.Tensor, transposed = false): tf.Tensor2D =>
    tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposed);
  return {
    forward: group.jit((x: tf.Tensor) => product(state.value, x), { out: shard(0) }),
    backward: group.jit((x: tf.Tensor) => nn.allReduce(product(state.value, x, true)), { in: [shard(0)] }),
    gram: group.jit((x: tf.Tensor) => nn.allReduce(product(x, x, true)), { in: [shard(0)] }),
    times: group.jit((x: tf.Tensor, y: tf.Tensor) => product(x, y), {
      in: [shard(0), { placement: 'replicate' }],
      out: shard(0),
    }),
  };
}

/** Twice: rounding in the first Gram matrix of nearly dependent columns leaves them not quite orthonormal. Disposes `x`. */
async function orthonormal(steps: Steps, x: tf.Tensor2D): Promise<tf.Tensor2D> {
  let current = x;
  for (let pass = 0; pass < 2; pass++) {
    const width = current.shape[1];
    const gram = await steps.gram(current);
    const inverse = tf.tensor2d(Float32Array.from(inverseCholesky(await gram.data(), width)), [width, width]);
    const next = await steps.times(current, inverse);
    tf.dispose([gram, inverse, current]);
    current = next;
  }
  return current;
}

/** The best singular vectors within the span of the basis. */
async function ritz(
  steps: Steps,
  basis: tf.Variable,
  width: number,
  { numComponents, power }: SvdOptions,
): Promise<TruncatedSvd> {
  const image = await steps.forward(basis);
  const gram = await steps.gram(image);
  const { values: squares, vectors } = symmetricEigen(await gram.data(), width);
  const kept = Math.min(numComponents, width);
  const values = squares.slice(0, kept).map((square) => Math.sqrt(Math.max(0, square)));
  const turn = new Float32Array(width * kept);
  values.forEach((value, i) => {
    // Of what has no size only rounding is left.
    const factor = value > values[0]! * 1e-5 ? value ** (power - 1) : 0;
    for (let j = 0; j < width; j++) turn[j * kept + i] = vectors[i * width + j]! * factor;
  });
  const turned = tf.tensor2d(turn, [width, kept]);
  const left = await steps.times(image, turned);
  const data = (await left.data()) as Float32Array;
  tf.dispose([image, gram, turned, left]);
  orient(data, kept);
  return { left: data, values };
}

/** A singular vector may as well point the other way, which rounding decides: its largest entry is made positive. */
function orient(left: Float32Array, width: number): void {
  for (let column = 0; column < width; column++) {
    let largest = 0;
    for (let at = column; at < left.length; at += width)
      if (Math.abs(left[at]!) > Math.abs(largest)) largest = left[at]!;
    if (largest < 0) for (let at = column; at < left.length; at += width) left[at] = -left[at]!;
  }
}

function assign(variable: tf.Variable, value: tf.Tensor): void {
  variable.assign(value);
  value.dispose();
}
