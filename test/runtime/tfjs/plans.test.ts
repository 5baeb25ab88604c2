/** Real plans on tfjs devices: every layout trains as one process does. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../../src/graph/graph.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import type { Plan } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import type { StepResult } from '../../../src/runtime/device.js';
import { localCommunicators } from '../../../src/runtime/localCommunicator.js';
import { TfjsDevice } from '../../../src/runtime/tfjs/device.js';
import { mergeParameter, sliceParameter } from '../../../src/tensorparallel/shards.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const BATCH = 4;
const LENGTH = 6;
const VOCABULARY = 13;

function tokens(step: number): { tokens: Int32Array; targets: Int32Array } {
  const all = Int32Array.from({ length: BATCH * LENGTH + 1 }, (_, i) => (i * i * 7 + i + step * 5) % VOCABULARY);
  return { tokens: all.slice(0, -1), targets: all.slice(1) };
}
const model = (dropout: number) =>
  gpt({
    vocabularySize: VOCABULARY,
    contextLength: LENGTH,
    numLayers: 2,
    numHeads: 2,
    hiddenSize: 8,
    dropout,
    seed: 3,
  });

interface Outcome {
  readonly losses: number[];
  readonly norms: number[];
  readonly parameters: Map<string, Float32Array>;
  readonly plan: Plan;
}

type Layout = Pick<PlanInput, 'mesh' | 'numMicroBatches' | 'schedule' | 'recompute'>;

interface Opened {
  readonly plan: Plan;
  readonly devices: readonly TfjsDevice[];
  readonly dispose: () => void;
}

async function openPlan(layout: Layout, dropout: number): Promise<Opened> {
  const { dp = 1 } = layout.mesh ?? {};
  const microBatchSize = BATCH / dp / (layout.numMicroBatches ?? 1);
  const user = model(dropout);
  const field = (name: string) => ({ name, shape: [LENGTH], dtype: 'int32' as const });
  const fields = [field('tokens'), field('targets')];
  const trace = traceModel(user, 'train', fields, microBatchSize);
  const train: Graph = optimizeGraph(trace.graph);
  const evaluate = optimizeGraph(traceModel(user, 'evaluate', fields, microBatchSize).graph);
  const predict = optimizeGraph(traceModel(user, 'predict', [field('tokens')], microBatchSize).graph);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;
  const plan = buildPlan({ train, evaluate, predict, optimizer, clipNorm: 0.5, seed: 5, microBatchSize, ...layout });
  const communicators = localCommunicators(plan.ranks.length);
  const data = new Map(
    trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index]?.dataSync() as Float32Array]),
  );
  const devices = await Promise.all(
    plan.ranks.map(async (rankPlan, rank) => {
      const device = new TfjsDevice({ communicator: communicators[rank] });
      await device.open(rankPlan);
      for (const executable of rankPlan.executables) await device.load(executable);
      for (const [index, held] of rankPlan.parameters.entries()) {
        const logical = plan.parameters[held.parameter];
        const whole = data.get(held.name);
        if (logical === undefined || whole === undefined) throw new Error(`no data for ${held.name}`);
        const { tp } = rankPlan.coordinates;
        await device.write(
          index,
          'value',
          sliceParameter(whole, logical.shape, logical.layout, plan.mesh.tp, tp) as Float32Array,
        );
      }
      return device;
    }),
  );
  const dispose = () => {
    for (const device of devices) device.close();
    user.dispose();
  };
  return { plan, devices, dispose };
}

/** One run of an executable on all ranks, each with its replica's part of the batch. */
function runAll({ plan, devices }: Opened, executable: string, step: number): Promise<StepResult[]> {
  const { dp } = plan.mesh;
  return Promise.all(
    devices.map((device, rank) => {
      const replica = plan.ranks[rank]?.coordinates.dp ?? 0;
      const part = (array: Int32Array) =>
        array.subarray((replica * array.length) / dp, ((replica + 1) * array.length) / dp);
      const inputs = new Map(Object.entries(tokens(step)).map(([name, array]) => [name, part(array)]));
      return device.run(executable, { step, seed: 5, learningRate: 0.01, inputs, timeoutSeconds: 5 });
    }),
  );
}

async function train(layout: Layout, dropout: number): Promise<Outcome> {
  const opened = await openPlan(layout, dropout);
  const { plan, devices } = opened;
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < 3; step++) {
    const results = await runAll(opened, 'train', step);
    losses.push(results.at(-1)?.metrics.loss ?? Number.NaN);
    norms.push(results[0]?.gradientNorm ?? Number.NaN);
  }
  const parameters = new Map<string, Float32Array>();
  for (const [index, logical] of plan.parameters.entries()) {
    const shards = await Promise.all(
      plan.ranks.flatMap(({ coordinates, parameters: held }, rank) => {
        const at = held.findIndex((one) => one.parameter === index);
        return coordinates.dp === 0 && coordinates.pp === logical.stages[0] && at >= 0
          ? [devices[rank]?.read(at, 'value') as Promise<Float32Array>]
          : [];
      }),
    );
    parameters.set(logical.name, mergeParameter(shards, logical.shape, logical.layout) as Float32Array);
  }
  opened.dispose();
  return { losses, norms, parameters, plan };
}

function expectSame(actual: Outcome, expected: Outcome): void {
  actual.losses.forEach((loss, step) => {
    expect(Math.abs(loss / (expected.losses[step] ?? 0) - 1)).toBeLessThan(1e-5);
  });
  actual.norms.forEach((norm, step) => {
    expect(Math.abs(norm / (expected.norms[step] ?? 0) - 1)).toBeLessThan(1e-4);
  });
  for (const [name, values] of expected.parameters) {
    const mine = actual.parameters.get(name);
    let worst = 0;
    for (let i = 0; i < values.length; i++)
      worst = Math.max(worst, Math.abs((mine?.[i] ?? Number.NaN) - (values[i] ?? 0)));
    expect(worst, name).toBeLessThan(1e-4);
  }
}

describe('plans of a GPT on tfjs devices', () => {
  for (const dropout of [0, 0.2]) {
    it(`dropout ${dropout}: dp, tp, pp and all together train as one rank does`, async () => {
      const expected = await train({ mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 }, dropout);
      const layouts: Layout[] = [
        { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 2, recompute: 'full' },
        { mesh: { dp: 2, tp: 1, pp: 1 }, numMicroBatches: 1 },
        { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 },
        { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 2 },
        { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' },
        { mesh: { dp: 2, tp: 2, pp: 2 }, numMicroBatches: 2 },
      ];
      for (const layout of layouts) expectSame(await train(layout, dropout), expected);
    }, 60_000);
  }

  it('evaluates and predicts alike on every layout', async () => {
    const outcome = async (layout: Layout) => {
      const opened = await openPlan(layout, 0.2);
      const last = opened.plan.ranks.filter(
        ({ coordinates, mesh }) => coordinates.pp === mesh.pp - 1 && coordinates.tp === 0,
      );
      const evaluated = await runAll(opened, 'evaluate', 0);
      const predicted = await runAll(opened, 'predict', 0);
      opened.dispose();
      const outputs = last.flatMap(({ rank }) =>
        [...(predicted[rank]?.outputs.values() ?? [])].flatMap((array) => [...array]),
      );
      return { loss: evaluated[last[0]?.rank ?? 0]?.metrics.loss ?? Number.NaN, outputs };
    };
    const expected = await outcome({ mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 });
    const actual = await outcome({ mesh: { dp: 2, tp: 2, pp: 2 }, numMicroBatches: 2 });
    expect(expected.outputs.length).toBe(BATCH * LENGTH * VOCABULARY);
    expect(actual.outputs.length).toBe(expected.outputs.length);
    expect(Math.abs(actual.loss - expected.loss)).toBeLessThan(1e-5);
    expected.outputs.forEach((value, i) => {
      expect(Math.abs((actual.outputs[i] ?? Number.NaN) - value)).toBeLessThan(1e-5);
    });
  }, 30_000);

  it.each([
    ['tensor parallel', { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 }],
    ['a pipeline', { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 2 }],
  ] as [string, Layout][])('finds the first op that is not finite under %s', async (_, layout) => {
    const opened = await openPlan(layout, 0);
    const [first] = opened.plan.ranks;
    const index = first?.parameters.findIndex(({ shape }) => shape.length === 1) ?? -1;
    const size = first?.parameters[index]?.shape[0] ?? 0;
    await opened.devices[0]?.write(index, 'value', new Float32Array(size).fill(Number.NaN));
    const failures = await Promise.allSettled(
      opened.devices.map((device, rank) => {
        const inputs = new Map(Object.entries(tokens(0)));
        const run = device.run('train', { step: 3, seed: 5, learningRate: 0.01, inputs, timeoutSeconds: 5 });
        // What the coordinator does when a rank fails.
        return run.catch((error: unknown) => {
          for (const [other, peer] of opened.devices.entries()) if (other !== rank) peer.abort('a peer failed');
          throw error;
        });
      }),
    );
    const reasons = failures.map((failure) => (failure.status === 'rejected' ? String(failure.reason) : 'no error'));
    expect(reasons.join('\n')).toMatch(/engine\/nan-loss.*at step 3 on rank \d; first: MerakLayerNorm/);
    opened.dispose();
  });
});
