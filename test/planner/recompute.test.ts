/** Recomputation chosen by operator: fits every budget between `full` and `none`, and trains as keeping all does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gpt } from '../../src/models/gpt.js';
import { rankMemory } from '../../src/plan/memoryReport.js';
import type { Plan } from '../../src/plan/plan.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import { misreads } from '../plan/byteMemory.js';
import { disposeModel, lossOf, maxDifference, startPlan, type TracedModel, tokenBatch, traced } from './training.js';

const [VOCABULARY, LENGTH, BATCH, NUM_STEPS] = [11, 6, 8, 2];
const FIELDS = ['tokens', 'targets'].map((name) => ({ name, shape: [LENGTH], dtype: 'int32' as const }));
const OPTIMIZER = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0.01 } as const;
const model = gpt({
  vocabularySize: VOCABULARY,
  contextLength: LENGTH,
  numLayers: 3,
  numHeads: 2,
  hiddenSize: 8,
  dropout: 0.1,
});
const batch = tokenBatch(BATCH, LENGTH, VOCABULARY);
let model2: TracedModel;

beforeAll(() => {
  model2 = traced(model, FIELDS, 2);
});
afterAll(() => disposeModel(model));

const peak = (plan: Plan) => Math.max(...plan.ranks.map((rank) => rankMemory(rank).peakBytes));
const planOf = (change: Partial<PlanInput>) => {
  const { values: _, ...graphs } = model2;
  return buildPlan({ ...graphs, optimizer: OPTIMIZER, numMicroBatches: 4, ...change });
};

async function train(change: Partial<PlanInput>) {
  const { values, ...graphs } = model2;
  const cluster = await startPlan({ ...graphs, optimizer: OPTIMIZER, numMicroBatches: 4, ...change }, values);
  const losses: number[] = [];
  for (let step = 0; step < NUM_STEPS; step++) {
    losses.push(lossOf(await cluster.run('train', step, batch)));
  }
  const parameters = await cluster.parameters();
  cluster.close();
  return { losses, parameters, plan: cluster.plan };
}

describe.each([
  ['pp2 1f1b', { mesh: { pp: 2 } }],
  ['pp3 scp', { mesh: { pp: 3 }, schedule: 'scp' }],
  ['pp2 tp2 1f1b', { mesh: { pp: 2, tp: 2 } }],
  ['pp2 zb-h1', { mesh: { pp: 2 }, schedule: 'zb-h1' }],
  ['pp2 interleaved', { mesh: { pp: 2 }, schedule: 'interleaved' }],
  ['pp2 zb-v', { mesh: { pp: 2 }, schedule: 'zb-v' }],
] as [string, Partial<PlanInput>][])('%s', (_, layout) => {
  it.each([0.1, 0.5])('auto at %d of the way from full to none', async (share) => {
    const [least, most] = [peak(planOf({ ...layout, recompute: 'full' })), peak(planOf(layout))];
    expect(least).toBeLessThan(most);
    const memoryLimitBytes = Math.floor(least + share * (most - least));
    const auto = await train({ ...layout, recompute: 'auto', memoryLimitBytes });
    expect(peak(auto.plan)).toBeLessThanOrEqual(memoryLimitBytes);
    // The orders of zb-h1 and zb-v under recomputation hold less even where nothing is recomputed.
    const recomputes = auto.plan.stages.some(({ recompute }) => recompute === 'partial');
    expect(recomputes || layout.schedule?.startsWith('zb-')).toBe(true);
    for (const rank of auto.plan.ranks) {
      for (const executable of rank.executables) expect(misreads(rank, executable)).toEqual([]);
    }
    const kept = await train(layout);
    kept.losses.forEach((loss, step) => {
      expect(Math.abs(auto.losses[step]! - loss) / loss).toBeLessThan(1e-5);
    });
    expect(maxDifference(kept.parameters, auto.parameters)).toBeLessThan(1e-4);
  });

  it('recomputes less the more memory there is, and nothing where all fits', () => {
    const [least, most] = [peak(planOf({ ...layout, recompute: 'full' })), peak(planOf(layout))];
    const work = [0.1, 0.5, 0.9, 1].map((share) => {
      const memoryLimitBytes = Math.ceil(least + share * (most - least));
      const plan = planOf({ ...layout, recompute: 'auto', memoryLimitBytes });
      return Math.max(...plan.stages.map(({ backwardFlops }) => backwardFlops));
    });
    for (let i = 1; i < work.length; i++) expect(work[i]!).toBeLessThanOrEqual(work[i - 1]!);
    expect(work.at(-1)).toBe(Math.max(...planOf(layout).stages.map(({ backwardFlops }) => backwardFlops)));
  });
});
