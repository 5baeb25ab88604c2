/** Models that are no plain stack, cut into stages: encoder-decoder with a shared table, convolutions with skips. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { optimizeGraph } from '../../src/graph/passes/optimize.js';
import { gpt } from '../../src/models/gpt.js';
import { shardGraph } from '../../src/partitioner/shardGraph.js';
import { checkSchedule } from '../../src/pipeline/check.js';
import { oneForwardOneBackward } from '../../src/pipeline/oneForwardOneBackward.js';
import { balanceStages } from '../../src/planner/balance.js';
import type { PlanInput } from '../../src/planner/buildPlan.js';
import { localCosts } from '../../src/planner/localCosts.js';
import type { HostArray } from '../../src/runtime/device.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import { lazy } from '../../src/trace/lazy.js';
import type { FieldSpec, UserModel } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';
import { encoderDecoder } from './encoderDecoder.js';
import { maxDifference, startPlan, tokenBatch, traced } from './training.js';

const BATCH = 4;
const SGD = { kind: 'momentum', momentum: 0.9, nesterov: false } as const;

async function train(
  model: UserModel,
  fields: readonly FieldSpec[],
  batch: ReadonlyMap<string, HostArray>,
  change: Partial<PlanInput>,
) {
  const { values, ...graphs } = traced(model, fields, BATCH / (change.numMicroBatches ?? 1));
  const cluster = await startPlan({ ...graphs, optimizer: SGD, numMicroBatches: 1, ...change }, values);
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) losses.push((await cluster.run('train', step, batch)).at(-1)!.metrics.loss!);
  const parameters = await cluster.parameters();
  cluster.close();
  return { losses, parameters, plan: cluster.plan };
}

function expectSame(a: Awaited<ReturnType<typeof train>>, b: Awaited<ReturnType<typeof train>>): void {
  a.losses.forEach((loss, step) => {
    expect(Math.abs(b.losses[step]! - loss) / loss).toBeLessThan(1e-5);
  });
  expect(maxDifference(a.parameters, b.parameters)).toBeLessThan(1e-4);
}

describe('an encoder-decoder whose table embeds both sides and is the head', () => {
  const [vocabulary, length] = [11, 5];
  const model = encoderDecoder(vocabulary, 8, 2);
  const fields = ['source', 'tokens', 'targets'].map((name) => ({ name, shape: [length], dtype: 'int32' as const }));
  const tokens = tokenBatch(BATCH, length, vocabulary);
  const batch = new Map([...tokens, ['source', (tokens.get('tokens') as Int32Array).slice().reverse()]]);

  it.each([
    ['pp2', { mesh: { pp: 2 }, numMicroBatches: 2 }],
    ['pp4 scp recompute', { mesh: { pp: 4 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' }],
    ['pp3 tp2', { mesh: { pp: 3, tp: 2 }, numMicroBatches: 2 }],
  ] as [string, Partial<PlanInput>][])('%s', async (_, change) => {
    const serial = await train(model, fields, batch, {});
    const parallel = await train(model, fields, batch, change);
    expectSame(serial, parallel);
    const table = parallel.plan.parameters.find(({ name }) => name.includes('table'))!;
    // Each stage that embeds or projects holds a copy; the end of the encoder travels through the decoder's stages.
    expect(table.stages.length).toBeGreaterThan(1);
  });
});

describe('convolutions with skip connections', () => {
  const build = () => {
    const conv = (filters: number) =>
      tf.layers.conv2d({
        filters,
        kernelSize: 3,
        padding: 'same',
        activation: 'relu',
        kernelInitializer: 'glorotNormal',
      });
    const input = tf.input({ shape: [8, 8, 2] });
    const wide = conv(4).apply(input) as tf.SymbolicTensor;
    const down = tf.layers.maxPooling2d({ poolSize: 2 }).apply(wide) as tf.SymbolicTensor;
    const deep = conv(8).apply(conv(8).apply(down)) as tf.SymbolicTensor;
    // Not upSampling2d: the gradient of tfjs's CPU kernel is wrong beyond the first sample (docs/bugs.md).
    const up = tf.layers.conv2dTranspose({ filters: 4, kernelSize: 2, strides: 2 }).apply(deep) as tf.SymbolicTensor;
    const joined = tf.layers.concatenate().apply([wide, up]) as tf.SymbolicTensor;
    const flat = tf.layers.flatten().apply(conv(2).apply(joined)) as tf.SymbolicTensor;
    const model = tf.model({ inputs: input, outputs: tf.layers.dense({ units: 3 }).apply(flat) as tf.SymbolicTensor });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    return model;
  };

  it.each([2, 3])('pp%d', async (pp) => {
    const model = build();
    const fields = fieldsOfModel(model);
    const batch = new Map(
      fields.map(({ name, shape }, f) => {
        const size = BATCH * shape.reduce((a, b) => a * b, 1);
        return [name, Float32Array.from({ length: size }, (_, i) => Math.sin(0.3 * i * (f + 1)))];
      }),
    );
    const serial = await train(model, fields, batch, {});
    expectSame(serial, await train(model, fields, batch, { mesh: { pp }, numMicroBatches: 2 }));
  });
});

describe('a hundred layers on 64 stages', () => {
  // How long it takes: bench/planning.ts.
  it('are balanced, the embedding and the head weighed in', () => {
    const fields = ['tokens', 'targets'].map((name) => ({ name, shape: [32], dtype: 'int32' as const }));
    const model = lazy(() =>
      gpt({ vocabularySize: 4096, contextLength: 32, numLayers: 100, numHeads: 2, hiddenSize: 128 }),
    );
    const graph = optimizeGraph(traceModel(model, 'train', fields, 1).graph);
    const schedule = oneForwardOneBackward(64, 128);
    const shards = shardGraph(graph, { atLeast: 64 });
    const stageOfShard = balanceStages(graph, shards, 1, {
      schedule,
      inFlight: checkSchedule(schedule),
      recompute: 'auto',
      memoryLimitBytes: 8e6,
      costs: localCosts(),
      numMoments: 2,
    });
    expect(new Set(stageOfShard).size).toBe(64);
    const sizes = Array.from({ length: 64 }, (_, stage) => stageOfShard.filter((one) => one === stage).length);
    // The head alone costs more than two layers: its stage holds fewer shards than the others.
    expect(sizes.at(-1)!).toBeLessThanOrEqual(Math.max(...sizes.slice(0, -1)));
  });
});
