/** tf.layers models over every axis: dense, convolution with batch normalisation, LSTM. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import type { PlanInput } from '../../src/planner/buildPlan.js';
import { buildTrainingExecutable } from '../../src/planner/buildTraining.js';
import type { HostArray } from '../../src/runtime/device.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { misreads } from '../plan/byteMemory.js';
import { maxDifference, startPlan, traced } from './training.js';

const SGD = { kind: 'momentum', momentum: 0.9, nesterov: false } as const;
const BATCH = 8;

const mlp = () =>
  tf.sequential({
    layers: [
      tf.layers.dense({ units: 6, activation: 'relu', inputShape: [5], kernelRegularizer: 'l1l2' }),
      tf.layers.dense({ units: 6, activation: 'tanh' }),
      tf.layers.dense({ units: 6, activation: 'sigmoid', kernelRegularizer: 'l1l2' }),
      tf.layers.dense({ units: 3 }),
    ],
  });
const convolution = () =>
  tf.sequential({
    layers: [
      tf.layers.conv2d({ filters: 4, kernelSize: 3, inputShape: [6, 6, 1], padding: 'same' }),
      tf.layers.batchNormalization({}),
      tf.layers.reLU({}),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.conv2d({ filters: 4, kernelSize: 3 }),
      tf.layers.flatten({}),
      tf.layers.dense({ units: 3 }),
    ],
  });
const recurrent = () =>
  tf.sequential({
    layers: [
      tf.layers.lstm({ units: 4, inputShape: [3, 5], returnSequences: true }),
      tf.layers.lstm({ units: 4 }),
      tf.layers.dense({ units: 3 }),
    ],
  });

function inputsFor(model: tf.LayersModel): Map<string, HostArray> {
  return new Map(
    fieldsOfModel(model).map(({ name, shape }, f) => {
      const length = BATCH * shape.reduce((a, b) => a * b, 1);
      return [name, Float32Array.from({ length }, (_, i) => Math.sin(i * (f + 1) * 0.7))];
    }),
  );
}

async function train(build: () => tf.LayersModel, change: Partial<PlanInput>, numSteps = 2) {
  const model = build();
  model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
  // The same initial weights whatever the layout.
  model.setWeights(
    model.getWeights().map((weight, i) => {
      const start = model.weights[i]!.name.includes('variance') ? 1 : 0;
      const data = Float32Array.from({ length: weight.size }, (_, k) => start + 0.3 * Math.cos(k + i));
      return tf.tensor(data, weight.shape);
    }),
  );
  const inputs = inputsFor(model);
  const perStep = (change.numMicroBatches ?? 1) * (change.mesh?.dp ?? 1);
  const { values, ...graphs } = traced(model, fieldsOfModel(model), BATCH / perStep);
  const cluster = await startPlan({ ...graphs, optimizer: SGD, numMicroBatches: 1, ...change }, values);
  for (const rank of cluster.plan.ranks) {
    for (const executable of rank.executables) expect(misreads(rank, executable)).toEqual([]);
  }
  const losses: number[] = [];
  for (let step = 0; step < numSteps; step++)
    losses.push((await cluster.run('train', step, inputs)).at(-1)!.metrics.loss!);
  const evaluated = (await cluster.run('evaluate', numSteps, inputs)).at(-1)!.metrics.loss!;
  // Layer names count up from model to model; positions do not.
  const named = [...(await cluster.parameters()).values()];
  cluster.close();
  return { losses, evaluated, parameters: new Map(named.map((value, i) => [String(i), value])), plan: cluster.plan };
}

const LAYOUTS: [string, Partial<PlanInput>][] = [
  ['pp2', { mesh: { pp: 2 }, numMicroBatches: 4 }],
  ['pp3 scp recompute', { mesh: { pp: 3 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' }],
  ['tp2 dp2', { mesh: { tp: 2, dp: 2 }, numMicroBatches: 2 }],
];

describe.each([
  ['an MLP with weight penalties', mlp],
  ['a stacked LSTM', recurrent],
] as const)('%s', (_, build) => {
  it.each(LAYOUTS)('%s trains as one process does', async (_name, change) => {
    const serial = await train(build, {});
    const parallel = await train(build, change);
    serial.losses.forEach((loss, step) => {
      expect(Math.abs(parallel.losses[step]! - loss) / loss).toBeLessThan(1e-5);
    });
    expect(parallel.evaluated).toBeCloseTo(serial.evaluated, 5);
    expect(maxDifference(serial.parameters, parallel.parameters)).toBeLessThan(1e-5);
  });
});

describe('a convolution with batch normalisation', () => {
  it('keeps its statistics over a pipeline with recomputation as in one process', async () => {
    // Statistics are those of a micro-batch, so only equal micro-batches compare.
    const serial = await train(convolution, { numMicroBatches: 2 });
    const parallel = await train(convolution, { mesh: { pp: 2 }, numMicroBatches: 2, recompute: 'full' });
    expect(parallel.losses[1]).toBeCloseTo(serial.losses[1]!, 5);
    expect(parallel.evaluated).toBeCloseTo(serial.evaluated, 5);
    expect(maxDifference(serial.parameters, parallel.parameters)).toBeLessThan(1e-5);
  });

  it('averages its statistics over replicas', async () => {
    const { plan, losses } = await train(convolution, { mesh: { dp: 2 } });
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(plan.ranks[0]!.stateBuckets).toHaveLength(1);
    expect(plan.ranks[0]!.executables[0]!.schedule.at(-2)).toEqual({ kind: 'reduceState' });
    const statistics = plan.parameters.filter(({ trainable }) => !trainable);
    expect(statistics.length).toBe(2);
  });
});

describe('a training executable for the last, smaller batch', () => {
  it('trains the same parameters at another micro-batch size', async () => {
    const model = mlp();
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const fields = fieldsOfModel(model);
    const { values, ...graphs } = traced(model, fields, 2);
    const smaller = traced(model, fields, 1).train;
    const cluster = await startPlan({ ...graphs, optimizer: SGD, mesh: { pp: 2, tp: 2 }, numMicroBatches: 4 }, values);
    const rest = buildTrainingExecutable(cluster.plan, smaller, { name: 'rest', numMicroBatches: 3 });
    expect(rest.flatMap((executable, rank) => misreads(cluster.plan.ranks[rank]!, executable))).toEqual([]);
    const kernels = rest.flatMap(({ programs }) => programs.flatMap(({ nodes }) => nodes.map(({ kernel }) => kernel)));
    expect(kernels).toContain('MerakAllReduce');
    cluster.close();
  });
});
