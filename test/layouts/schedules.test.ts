/** Every schedule on native engines in this process: 20 steps as one rank takes them, whatever is recomputed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gpt } from '../../src/models/gpt.js';
import { SCHEDULE_NAMES } from '../../src/pipeline/registry.js';
import { rankMemory } from '../../src/plan/memoryReport.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import {
  disposeModel,
  lossOf,
  maxDifference,
  startPlan,
  type TracedModel,
  tokenBatch,
  traced,
} from '../planner/training.js';
import { NUM_STEPS } from './training.js';

const [VOCABULARY, LENGTH, BATCH] = [13, 6, 8];
const FIELDS = ['tokens', 'targets'].map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
// Small enough that a last bit does not grow to a digit in 20 steps.
const LEARNING_RATE = 3e-3;
const OPTIMIZER = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0.01 } as const;

const model = gpt({
  vocabularySize: VOCABULARY,
  contextLength: LENGTH,
  numLayers: 4,
  numHeads: 2,
  hiddenSize: 8,
  dropout: 0.1,
  seed: 7,
});
const batch = tokenBatch(BATCH, LENGTH, VOCABULARY);
afterAll(() => disposeModel(model));

const graphs = new Map<number, TracedModel>();
function tracedAt(microBatch: number): TracedModel {
  const known = graphs.get(microBatch) ?? traced(model, FIELDS, microBatch, true);
  graphs.set(microBatch, known);
  return known;
}

type Change = Partial<PlanInput> & { readonly numMicroBatches: number };

function inputOf(change: Change): { input: PlanInput; values: TracedModel['values'] } {
  const { values, ...modes } = tracedAt(BATCH / change.numMicroBatches / (change.mesh?.dp ?? 1));
  return { input: { ...modes, optimizer: OPTIMIZER, clipNorm: 0.5, seed: 3, ...change }, values };
}

/** Native engines check their own memory; losses, evaluation and predictions must not depend on the layout. */
async function train(change: Change) {
  const { input, values } = inputOf(change);
  const cluster = await startPlan(input, values, 'native');
  try {
    const losses: number[] = [];
    for (let step = 0; step < NUM_STEPS; step++)
      losses.push(lossOf(await cluster.run('train', step, batch, LEARNING_RATE)));

    const evaluated = lossOf(await cluster.run('evaluate', NUM_STEPS, batch));
    const predicted = await cluster.run('predict', NUM_STEPS, new Map([['tokens', batch.get('tokens')!]]));
    const predictions = cluster.plan.ranks
      .filter(({ coordinates }) => coordinates.tp === 0)
      .flatMap(({ rank }) => [...predicted[rank]!.outputs.values()].flatMap((values) => [...values]));
    return { losses, evaluated, predictions, parameters: await cluster.parameters(), plan: cluster.plan };
  } finally {
    cluster.close();
  }
}

type Trained = Awaited<ReturnType<typeof train>>;
let serial: Trained;
beforeAll(async () => {
  serial = await train({ numMicroBatches: 1 });
});

function expectSame(parallel: Trained): void {
  parallel.losses.forEach((loss, step) => {
    expect(Math.abs(loss / serial.losses[step]! - 1), `step ${step}`).toBeLessThan(1e-5);
  });
  expect(Math.abs(parallel.evaluated / serial.evaluated - 1)).toBeLessThan(1e-5);
  expect(maxDifference(serial.parameters, parallel.parameters)).toBeLessThan(1e-4);
  expect(parallel.predictions).toHaveLength(serial.predictions.length);
  const worst = parallel.predictions.reduce((most, p, i) => Math.max(most, Math.abs(p - serial.predictions[i]!)), 0);
  expect(worst).toBeLessThan(1e-3);
}

/** Half-way between what full recomputation needs and what keeping everything does. */
function halfTheMemory(change: Change): number {
  const peak = (recompute: 'none' | 'full') =>
    Math.max(...buildPlan({ ...inputOf(change).input, recompute }).ranks.map((rank) => rankMemory(rank).peakBytes));
  return Math.floor((peak('full') + peak('none')) / 2);
}

describe.each(SCHEDULE_NAMES)('%s', (schedule) => {
  it.each([2, 4])('pp%d, keeping all, recomputing all, and what a cap asks for', async (pp) => {
    const layout = { mesh: { pp }, schedule, numMicroBatches: 8 };
    expectSame(await train(layout));
    expectSame(await train({ ...layout, recompute: 'full' }));
    const memoryLimitBytes = halfTheMemory(layout);
    const capped = await train({ ...layout, recompute: 'auto', memoryLimitBytes });
    expectSame(capped);
    for (const rank of capped.plan.ranks) expect(rankMemory(rank).peakBytes).toBeLessThanOrEqual(memoryLimitBytes);
  });

  it.each([1, 2])('%d micro-batches on four stages', async (numMicroBatches) => {
    expectSame(await train({ mesh: { pp: 4 }, schedule, numMicroBatches, recompute: 'full' }));
  });

  it('beside replicas and tensor ranks', async () => {
    expectSame(await train({ mesh: { pp: 2, dp: 2 }, schedule, numMicroBatches: 4, shardOptimizer: true }));
    expectSame(await train({ mesh: { pp: 2, tp: 2 }, schedule, numMicroBatches: 4, recompute: 'full' }));
  });
});

it('interleaved in three chunks, and chunks on one rank alone', async () => {
  expectSame(await train({ mesh: { pp: 2 }, schedule: 'interleaved', numChunks: 3, numMicroBatches: 4 }));
  expectSame(await train({ mesh: { pp: 1 }, schedule: 'interleaved', numChunks: 3, numMicroBatches: 4 }));
  expectSame(await train({ mesh: { pp: 1 }, schedule: 'zb-v', numMicroBatches: 2, recompute: 'full' }));
});
