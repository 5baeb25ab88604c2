/** Scaling in the log domain: marginals hold, kernels no exponential could represent included. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type SpmdGroup, shard, spmd } from '../../../src/index.js';
import { logSinkhorn } from '../../../src/trainers/solvers/logSinkhorn.js';

let group: SpmdGroup;
beforeAll(async () => {
  group = await spmd({ workers: 2 });
});
afterAll(() => group.close());

async function scaled(kernel: number[][], a: number[], b: number[], rounds: number): Promise<number[][]> {
  const run = group.jit(
    (k: tf.Tensor2D, p: tf.Tensor1D, q: tf.Tensor1D) => {
      const { f, g } = logSinkhorn(k, { rows: tf.log(p), columns: tf.log(q) }, rounds);
      return tf.exp(tf.add(tf.add(k, tf.expandDims(f, 1)), g));
    },
    { in: [shard(0), shard(0)], out: shard(0) },
  );
  const plan = await run(tf.tensor2d(kernel), tf.tensor1d(a), tf.tensor1d(b));
  return (await plan.array()) as number[][];
}

it('fits both marginals of a kernel of far apart exponents, as a two by two plan must', async () => {
  const plan = await scaled(
    [
      [-500, -520],
      [-900, -910],
    ],
    [0.3, 0.7],
    [0.6, 0.4],
    200,
  );
  // The odds ratio of the kernel stays: x (0.4 - 0.3 + x) / ((0.3 - x)(0.6 - x)) = exp(-500 + 520 - 900 + 910 - ...).
  const [[x, y], [z, w]] = plan as [[number, number], [number, number]];
  expect(x + y).toBeCloseTo(0.3, 5);
  expect(z + w).toBeCloseTo(0.7, 5);
  expect(x + z).toBeCloseTo(0.6, 5);
  expect(Math.log((x * w) / (y * z))).toBeCloseTo(-500 - 910 + 520 + 900, 2);
});
