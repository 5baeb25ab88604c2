/** Collectives really run beside computation in the native engine, and change nothing. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { optimizeGraph } from '../../../src/graph/passes/optimize.js';
import { ensureKernels } from '../../../src/kernels/register.js';
import { gpt } from '../../../src/models/gpt.js';
import type { Program } from '../../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../../src/planner/buildPlan.js';
import type { ArenaHandle } from '../../../src/runtime/device.js';
import { NativeDevice } from '../../../src/runtime/native/device.js';
import { sliceParameter } from '../../../src/tensorparallel/shards.js';
import { traceModel } from '../../../src/trace/trace.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const BATCH = 4;
const LENGTH = 32;
const FIELDS = (['tokens', 'targets'] as const).map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));

type Options = Pick<PlanInput, 'subBatches' | 'sequenceParallel'>;

/** Two tensor-parallel engines in this process; the loss of two steps, and each rank's trace of the second. */
async function run(options: Options) {
  const config = { vocabularySize: 40, contextLength: LENGTH, numLayers: 3, numHeads: 4, hiddenSize: 64, dropout: 0.1 };
  const user = gpt({ ...config, seed: 3 });
  const trace = traceModel(user, 'train', FIELDS, BATCH);
  const optimizer = { kind: 'sgd' } as const;
  const mesh = { dp: 1, tp: 2, pp: 1 };
  const plan = buildPlan({
    train: optimizeGraph(trace.graph),
    optimizer,
    seed: 5,
    microBatchSize: BATCH,
    mesh,
    ...options,
  });
  const devices = plan.ranks.map(() => new NativeDevice({ threads: 1 }));
  const handles: ArenaHandle[] = [];
  const values = new Map(trace.graph.parameters.map(({ name }, i) => [name, trace.variables[i]!.dataSync()]));
  for (const [rank, device] of devices.entries()) {
    const rankPlan = plan.ranks[rank]!;
    handles.push(...(await device.open(rankPlan)));
    handles.push(...(await device.load(rankPlan.executables[0]!)));
    for (const [index, { parameter, name }] of rankPlan.parameters.entries()) {
      const { shape, layout } = plan.parameters[parameter]!;
      const piece = sliceParameter(values.get(name) as Float32Array, shape, layout, 2, rank);
      await device.write(index, 'value', piece);
    }
  }
  for (const device of devices) await device.connect(handles);
  const all = Int32Array.from({ length: BATCH * LENGTH + 1 }, (_, i) => (i * i * 7 + i) % 40);
  const inputs = new Map([
    ['tokens', all.slice(0, -1)],
    ['targets', all.slice(1)],
  ]);
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    for (const device of devices) await device.takeCollectiveTrace();
    const results = await Promise.all(
      devices.map((device) => device.run('train', { step, seed: 5, learningRate: 0.05, inputs, timeoutSeconds: 20 })),
    );
    losses.push(results[0]!.metrics.loss!);
  }
  const traces = await Promise.all(devices.map((device) => device.takeCollectiveTrace()));
  for (const device of devices) device.close();
  user.dispose();
  return { losses, traces, programs: plan.ranks[0]!.executables[0]!.programs };
}

const PRODUCTS = new Set([
  'BatchMatMul',
  'MerakAttention',
  'MerakPackedAttention',
  'MerakAttentionGrad',
  'MerakPackedAttentionGrad',
]);

/** Per collective of a program: how many products run between its start and its wait. */
function productsBetween({ nodes }: Program): number[] {
  return nodes.flatMap((node, at) => {
    if (node.kernel !== 'MerakWait') return [];
    const start = nodes.findIndex(({ outputs }) => outputs[0] === node.inputs[0]);
    return [nodes.slice(start, at).filter(({ kernel }) => PRODUCTS.has(kernel)).length];
  });
}

describe('sub-batches on the native engine', () => {
  it.each([
    ['all-reduces', {}],
    ['reduce-scatters and all-gathers', { sequenceParallel: 'on' }],
  ] as const)('run %s while the other half computes', async (_, options) => {
    const whole = await run(options);
    const halves = await run({ ...options, subBatches: 2 });
    halves.losses.forEach((loss, step) => {
      expect(Math.abs(loss / whole.losses[step]! - 1)).toBeLessThan(1e-6);
    });
    expect(whole.traces).toEqual([[], []]);
    for (const program of halves.programs) {
      const between = productsBetween(program);
      expect(between.length).toBeGreaterThanOrEqual(6);
      expect(between.filter((count) => count > 0).length).toBeGreaterThan(between.length / 2);
    }
    for (const trace of halves.traces) {
      expect(trace.length).toBe(halves.programs.reduce((sum, one) => sum + productsBetween(one).length, 0));
      for (const { started, begun, ended, awaited, released } of trace) {
        expect(begun).toBeGreaterThanOrEqual(started);
        expect(ended).toBeGreaterThanOrEqual(begun);
        expect(awaited).toBeGreaterThanOrEqual(started);
        expect(released).toBeGreaterThanOrEqual(ended);
      }
    }
  });
});
