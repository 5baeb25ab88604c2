/** Training in bf16: losses beside those of f32, whatever the layout, with smaller saved activations and plans that survive the wire. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import type { Plan } from '../../../src/plan/plan.js';
import { decodeRankPlan, encodeRankPlan } from '../../../src/plan/serialize.js';
import { buildPlan } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle } from '../../../src/runtime/device.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { sliceParameter } from '../../../src/tensorparallel/shards.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const BATCH = 8;
const LENGTH = 32;
const VOCABULARY = 64;

/** A sequence with structure to learn. */
function batchOf(step: number): Record<string, Int32Array> {
  const all = Int32Array.from(
    { length: BATCH * LENGTH + 1 },
    (_, i) => ((i + step * 3) * 5 + (i % 3) * 7) % VOCABULARY,
  );
  return { tokens: all.slice(0, -1), targets: all.slice(1) };
}

interface Run {
  readonly losses: number[];
  readonly plan: Plan;
}

async function train(
  precision: 'f32' | 'bf16',
  mesh = { dp: 1, tp: 1, pp: 1 },
  numMicroBatches = 1,
  steps = 30,
): Promise<Run> {
  const model = gpt({
    vocabularySize: VOCABULARY,
    contextLength: LENGTH,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 64,
    seed: 3,
  });
  const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
  const microBatchSize = BATCH / mesh.dp / numMicroBatches;
  const trace = traceModel(model, 'train', fields, microBatchSize);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 } as const;
  const plan = buildPlan({
    train: optimizeGraph(trace.graph),
    optimizer,
    clipNorm: 1,
    microBatchSize,
    numMicroBatches,
    mesh,
    precision,
  });
  const handles: ArenaHandle[] = [];
  const devices = await Promise.all(
    plan.ranks.map(async (original) => {
      const rankPlan = decodeRankPlan(encodeRankPlan(original));
      const device = new NativeDevice();
      handles.push(...(await device.open(rankPlan)));
      for (const executable of rankPlan.executables) handles.push(...(await device.load(executable)));
      for (const [index, held] of rankPlan.parameters.entries()) {
        const logical = plan.parameters[held.parameter]!;
        const position = trace.graph.parameters.findIndex(({ name }) => name === held.name);
        const whole = trace.variables[position]!.dataSync() as Float32Array;
        const shard = sliceParameter(whole, logical.shape, logical.layout, mesh.tp, rankPlan.coordinates.tp);
        await device.write(index, 'value', shard as Float32Array);
      }
      return device;
    }),
  );
  for (const device of devices) await device.connect(handles);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const results = await Promise.all(
      devices.map((device, rank) => {
        const replica = plan.ranks[rank]!.coordinates.dp;
        const inputs = new Map(
          Object.entries(batchOf(step)).map(([name, array]) => [
            name,
            array.subarray((replica * array.length) / mesh.dp, ((replica + 1) * array.length) / mesh.dp),
          ]),
        );
        return device.run('train', { step, seed: 5, learningRate: 3e-3, inputs, timeoutSeconds: 20 });
      }),
    );
    losses.push(results.at(-1)!.metrics.loss!);
  }
  for (const device of devices) device.close();
  model.dispose();
  return { losses, plan };
}

const savedBytes = ({ plan }: Run) =>
  plan.ranks[0]!.executables[0]!.spaces.find(({ space }) => space === 'saved')!.slotBytes[0]!;

it('follows the f32 losses within 2 % while they fall', async () => {
  const [exact, mixed] = [await train('f32'), await train('bf16')];
  expect(exact.losses.at(-1)!).toBeLessThan(0.6 * exact.losses[0]!);
  exact.losses.forEach((loss, step) => {
    expect(Math.abs(mixed.losses[step]! / loss - 1), `step ${step}`).toBeLessThan(0.02);
  });
  expect(mixed.losses).not.toEqual(exact.losses);
  expect(savedBytes(mixed)).toBeLessThan(0.8 * savedBytes(exact));
}, 60_000);

it('trains alike on every axis', async () => {
  const expected = await train('bf16', undefined, 1, 6);
  const layouts: [Plan['mesh'], number][] = [
    [{ dp: 1, tp: 1, pp: 1 }, 2],
    [{ dp: 2, tp: 1, pp: 1 }, 1],
    [{ dp: 1, tp: 2, pp: 1 }, 1],
    [{ dp: 1, tp: 1, pp: 2 }, 4],
  ];
  for (const [mesh, numMicroBatches] of layouts) {
    const { losses } = await train('bf16', mesh, numMicroBatches, 6);
    losses.forEach((loss, step) => {
      expect(Math.abs(loss / expected.losses[step]! - 1), JSON.stringify({ mesh, step })).toBeLessThan(0.01);
    });
  }
}, 60_000);
