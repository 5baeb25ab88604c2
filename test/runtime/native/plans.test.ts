/** Real plans on native devices, each rank an engine in this process: every layout trains as one rank on tfjs does. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Graph } from '../../../src/graph/graph.js';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import type { Plan } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle, Device } from '../../../src/runtime/device.js';
import { localCommunicators } from '../../../src/runtime/localCommunicator.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { TfjsDevice } from '../../../src/runtime/tfjs/device.js';
import { mergeParameter, sliceParameter } from '../../../src/tensorparallel/shards.js';
import { traceModel } from '../../../src/trace/trace.js';
import { lossOf } from '../../planner/training.js';

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

async function train(layout: Layout, dropout: number, native: boolean): Promise<Outcome> {
  const { dp = 1 } = layout.mesh ?? {};
  const microBatchSize = BATCH / dp / (layout.numMicroBatches ?? 1);
  const user = model(dropout);
  const fields = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
  const trace = traceModel(user, 'train', fields, microBatchSize);
  const graph: Graph = optimizeGraph(trace.graph);
  const optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;
  const plan = buildPlan({ train: graph, optimizer, clipNorm: 0.5, seed: 5, microBatchSize, ...layout });
  const communicators = localCommunicators(plan.ranks.length);
  const data = new Map(
    trace.graph.parameters.map(({ name }, index) => [name, trace.variables[index]?.dataSync() as Float32Array]),
  );
  const handles: ArenaHandle[] = [];
  const devices = await Promise.all(
    plan.ranks.map(async (rankPlan, rank) => {
      const device: Device = native ? new NativeDevice() : new TfjsDevice({ communicator: communicators[rank] });
      handles.push(...(await device.open(rankPlan)));
      for (const executable of rankPlan.executables) handles.push(...(await device.load(executable)));
      for (const [index, held] of rankPlan.parameters.entries()) {
        const logical = plan.parameters[held.parameter];
        const whole = data.get(held.name);
        if (logical === undefined || whole === undefined) throw new Error(`no data for ${held.name}`);
        await device.write(
          index,
          'value',
          sliceParameter(whole, logical.shape, logical.layout, plan.mesh.tp, rankPlan.coordinates.tp) as Float32Array,
        );
      }
      return device;
    }),
  );
  for (const device of devices) await device.connect(handles);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 0; step < 3; step++) {
    const batch = tokens(step);
    const results = await Promise.all(
      devices.map((device, rank) => {
        const replica = plan.ranks[rank]?.coordinates.dp ?? 0;
        const part = (array: Int32Array) =>
          array.subarray((replica * array.length) / dp, ((replica + 1) * array.length) / dp);
        const inputs = new Map(Object.entries(batch).map(([name, array]) => [name, part(array)]));
        return device.run('train', { step, seed: 5, learningRate: 0.01, inputs, timeoutSeconds: 10 });
      }),
    );
    losses.push(lossOf(results));
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
  for (const device of devices) device.close();
  user.dispose();
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

describe('plans of a GPT on native devices', () => {
  for (const dropout of [0, 0.2]) {
    it(`dropout ${dropout}: dp, tp, pp and all together train as one tfjs rank does`, async () => {
      const expected = await train({ mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 }, dropout, false);
      const layouts: Layout[] = [
        { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 1 },
        { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 2, recompute: 'full' },
        { mesh: { dp: 2, tp: 1, pp: 1 }, numMicroBatches: 1 },
        { mesh: { dp: 1, tp: 2, pp: 1 }, numMicroBatches: 1 },
        { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 2 },
        { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' },
        { mesh: { dp: 2, tp: 2, pp: 2 }, numMicroBatches: 2 },
        { mesh: { dp: 1, tp: 1, pp: 1 }, numMicroBatches: 2, schedule: 'zb-v' },
        { mesh: { dp: 1, tp: 1, pp: 2 }, numMicroBatches: 4, schedule: 'interleaved', recompute: 'full' },
        { mesh: { dp: 1, tp: 2, pp: 2 }, numMicroBatches: 4, schedule: 'zb-v', recompute: 'full' },
        { mesh: { dp: 2, tp: 1, pp: 2 }, numMicroBatches: 1, schedule: 'zb-v' },
      ];
      for (const layout of layouts) expectSame(await train(layout, dropout, true), expected);
    }, 60_000);
  }
});
