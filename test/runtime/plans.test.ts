/** Plans of a GPT on either kind of device, every rank in this process: every layout trains, evaluates and predicts as one rank does. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { gpt } from '../../src/models/gpt.js';
import type { PlanInput } from '../../src/planner/buildPlan.js';
import type { HostArray } from '../../src/runtime/device.js';
import { type Cluster, disposeModel, lossOf, maxDifference, startPlan, traced } from '../planner/training.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const [BATCH, LENGTH, VOCABULARY] = [4, 6, 13];
const FIELDS = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));

function tokens(step: number): Map<string, HostArray> {
  const all = Int32Array.from({ length: BATCH * LENGTH + 1 }, (_, i) => (i * i * 7 + i + step * 5) % VOCABULARY);
  return new Map([
    ['tokens', all.slice(0, -1)],
    ['targets', all.slice(1)],
  ]);
}

type Layout = Pick<PlanInput, 'mesh' | 'numMicroBatches' | 'schedule' | 'recompute'>;
type Runtime = 'tfjs' | 'native';

const ONE: Layout = { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 };
const LAYOUTS: readonly Layout[] = [
  { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 2, recompute: 'full' },
  { mesh: { dp: 2, tp: 1, pp: 1 }, numMicroBatches: 1 },
  { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 },
  { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 2 },
  { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' },
  { mesh: { dp: 2, tp: 2, pp: 2 }, numMicroBatches: 2 },
];
const CHUNKED: readonly Layout[] = [
  { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 2, schedule: 'zb-v' },
  { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4, schedule: 'interleaved', recompute: 'full' },
  { mesh: { dp: 1, tp: 2, pp: 2 }, numMicroBatches: 4, schedule: 'zb-v', recompute: 'full' },
  { mesh: { dp: 2, tp: 1, pp: 2 }, numMicroBatches: 1, schedule: 'zb-v' },
];

async function start(layout: Layout, dropout: number, runtime: Runtime): Promise<Cluster> {
  const sizes = { vocabularySize: VOCABULARY, contextLength: LENGTH, numLayers: 2, numHeads: 2, hiddenSize: 8 };
  const model = gpt({ ...sizes, dropout, seed: 3 });
  const microBatchSize = BATCH / (layout.mesh?.dp ?? 1) / (layout.numMicroBatches ?? 1);
  const { values, ...graphs } = traced(model, FIELDS, microBatchSize, true);
  disposeModel(model);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;
  return startPlan({ ...graphs, optimizer, clipNorm: 0.5, seed: 5, microBatchSize, ...layout }, values, runtime);
}

async function train(layout: Layout, dropout: number, runtime: Runtime) {
  const cluster = await start(layout, dropout, runtime);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < 3; step++) {
    const results = await cluster.run('train', step, tokens(step), 0.01);
    losses.push(lossOf(results));
    norms.push(results[0]?.gradientNorm ?? Number.NaN);
  }
  const parameters = await cluster.parameters();
  cluster.close();
  return { losses, norms, parameters };
}

function expectRatios(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  for (const [i, value] of expected.entries()) expect(Math.abs(actual[i]! / value - 1)).toBeLessThan(tolerance);
}

describe.each(['tfjs', 'native'] as const)('plans of a GPT on %s devices', (runtime) => {
  it.each([0, 0.2])(
    'dropout %d: every layout trains as one tfjs rank does',
    async (dropout) => {
      const expected = await train(ONE, dropout, 'tfjs');
      const layouts = runtime === 'native' ? [ONE, ...LAYOUTS, ...CHUNKED] : LAYOUTS;
      for (const layout of layouts) {
        const actual = await train(layout, dropout, runtime);
        expectRatios(actual.losses, expected.losses, 1e-5);
        expectRatios(actual.norms, expected.norms, 1e-4);
        expect(maxDifference(expected.parameters, actual.parameters), JSON.stringify(layout)).toBeLessThan(1e-4);
      }
    },
    60_000,
  );

  it('evaluates and predicts alike on every layout', async () => {
    const outcome = async (layout: Layout, on: Runtime) => {
      const cluster = await start(layout, 0.2, on);
      const { ranks, mesh } = cluster.plan;
      const ends = ranks.filter(({ coordinates: { pp, tp } }) => pp === mesh.pp - 1 && tp === 0);
      const evaluated = await cluster.run('evaluate', 0, tokens(0));
      const predicted = await cluster.run('predict', 0, tokens(0));
      cluster.close();
      const outputs = ends.flatMap(({ rank }) => [...predicted[rank]!.outputs.values()].flatMap((one) => [...one]));
      return { loss: lossOf(evaluated), outputs };
    };
    const expected = await outcome(ONE, 'tfjs');
    expect(expected.outputs.length).toBe(BATCH * LENGTH * VOCABULARY);
    for (const layout of [ONE, { mesh: { dp: 2, tp: 2, pp: 2 }, numMicroBatches: 2 }]) {
      const actual = await outcome(layout, runtime);
      expect(actual.outputs.length).toBe(expected.outputs.length);
      expect(Math.abs(actual.loss - expected.loss)).toBeLessThan(1e-5);
      for (const [i, value] of expected.outputs.entries())
        expect(Math.abs(actual.outputs[i]! - value)).toBeLessThan(1e-5);
    }
  }, 30_000);

  it.each([
    ['tensor parallel', { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 }],
    ['a pipeline', { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 2 }],
  ] as [string, Layout][])('finds the first op that is not finite under %s', async (_, layout) => {
    const { plan, devices, close } = await start(layout, 0, runtime);
    const [first] = plan.ranks;
    const index = first?.parameters.findIndex(({ shape }) => shape.length === 1) ?? -1;
    const size = first?.parameters[index]?.shape[0] ?? 0;
    await devices[0]?.write(index, 'value', new Float32Array(size).fill(Number.NaN));
    const failures = await Promise.allSettled(
      devices.map(async (device, rank) => {
        const input = { step: 3, seed: 5, learningRate: 0.01, inputs: tokens(0), timeoutSeconds: 5 };
        try {
          return await device.run('train', input);
        } catch (error) {
          // What the coordinator does when a rank fails.
          for (const [other, peer] of devices.entries()) if (other !== rank) peer.abort('a peer failed');
          throw error;
        }
      }),
    );
    const reasons = failures.map((failure) => (failure.status === 'rejected' ? String(failure.reason) : 'no error'));
    expect(reasons.join('\n')).toMatch(/engine\/nan-loss.*at step 3 on rank \d.*MerakLayerNorm/s);
    // Whom a collective brought it has left the first word to the other.
    expect(reasons.join('\n')).not.toMatch(/(first:|came out of) MerakAll/);
    close();
  });
});
