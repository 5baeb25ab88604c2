/** A stage whose parameters are all frozen still knows the norm of the others' gradients, sharded optimizer or not. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import type { PlanInput } from '../../src/planner/buildPlan.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { startPlan, traced } from '../planner/training.js';

const BATCH = 4;
const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0 } as const;

async function norms(change: Partial<PlanInput>, runtime: 'tfjs' | 'native'): Promise<readonly number[]> {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: 6000, inputShape: [5], trainable: false, activation: 'tanh' }),
      tf.layers.dense({ units: 3, trainable: false, activation: 'tanh' }),
      tf.layers.dense({ units: 4, activation: 'tanh' }),
      tf.layers.dense({ units: 2 }),
    ],
  });
  model.setWeights(
    model.getWeights().map(({ shape, size }, i) => {
      return tf.tensor(
        Float32Array.from({ length: size }, (_, k) => 0.4 * Math.cos(k + i)),
        shape,
      );
    }),
  );
  model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
  const fields = fieldsOfModel(model);
  const inputs = new Map(
    fields.map(({ name, shape }, f) => {
      const length = BATCH * shape.reduce((a, b) => a * b, 1);
      return [name, Float32Array.from({ length }, (_, i) => Math.sin(i * (f + 1) * 0.7))];
    }),
  );
  const { values, train } = traced(model, fields, BATCH / (change.mesh?.dp ?? 1));
  const cluster = await startPlan(
    { train, optimizer: ADAM, clipNorm: 0.01, numMicroBatches: 1, ...change },
    values,
    runtime,
  );
  try {
    const { mesh, ranks } = cluster.plan;
    if (mesh.pp > 1) expect(ranks[0]!.gradientBuckets).toEqual([]);
    const results = await cluster.run('train', 0, inputs);
    return results.map(({ gradientNorm }) => gradientNorm);
  } finally {
    cluster.close();
  }
}

it.each(['tfjs', 'native'] as const)('%s', async (runtime) => {
  const [serial] = await norms({}, runtime);
  expect(serial).toBeGreaterThan(0.01);
  for (const shardOptimizer of [false, true]) {
    const parallel = await norms({ mesh: { pp: 2, dp: 2 }, shardOptimizer }, runtime);
    expect(parallel).toHaveLength(4);
    for (const norm of parallel) expect(norm / serial!).toBeCloseTo(1, 5);
  }
});
