/** A tied GPT planned in every layout and run on tfjs devices: the same losses and parameters as in one process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gpt } from '../../src/models/gpt.js';
import type { PlanInput } from '../../src/planner/buildPlan.js';
import { explainPlan, planReport } from '../../src/planner/explain.js';
import type { FieldSpec } from '../../src/trace/model.js';
import { disposeModel, lossOf, maxDifference, startPlan, tokenBatch, traced } from './training.js';

const [VOCABULARY, LENGTH, BATCH] = [11, 6, 8];
const FIELDS: FieldSpec[] = ['tokens', 'targets'].map((name) => ({ name, shape: [LENGTH], dtype: 'int32' }));
const OPTIMIZER = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0.01 } as const;
const NUM_STEPS = 3;

const LAYOUTS: [string, Partial<PlanInput> & { numMicroBatches: number }][] = [
  ['dp2', { mesh: { dp: 2 }, numMicroBatches: 2 }],
  ['pp2 1f1b', { mesh: { pp: 2 }, numMicroBatches: 4 }],
  ['pp3 scp recompute', { mesh: { pp: 3 }, numMicroBatches: 4, schedule: 'scp', recompute: 'full' }],
  ['pp3 zb-h1', { mesh: { pp: 3 }, numMicroBatches: 4, schedule: 'zb-h1' }],
  ['pp2 tp2 zb-h1 recompute', { mesh: { pp: 2, tp: 2 }, numMicroBatches: 4, schedule: 'zb-h1', recompute: 'full' }],
  ['pp2 interleaved', { mesh: { pp: 2 }, numMicroBatches: 4, schedule: 'interleaved' }],
  ['pp3 zb-v', { mesh: { pp: 3 }, numMicroBatches: 4, schedule: 'zb-v' }],
  ['pp2 tp2 zb-v recompute', { mesh: { pp: 2, tp: 2 }, numMicroBatches: 4, schedule: 'zb-v', recompute: 'full' }],
  ['pp1 interleaved', { mesh: { pp: 1 }, numMicroBatches: 2, schedule: 'interleaved' }],
  ['pp4 1f1b recompute', { mesh: { pp: 4 }, numMicroBatches: 2, recompute: 'full' }],
  ['tp2', { mesh: { tp: 2 }, numMicroBatches: 1 }],
  ['pp2 dp2 tp2', { mesh: { pp: 2, dp: 2, tp: 2 }, numMicroBatches: 2 }],
];

describe('a GPT with tied embeddings, dropout, 3 layers and 11 tokens', () => {
  const model = gpt({
    vocabularySize: VOCABULARY,
    contextLength: LENGTH,
    numLayers: 3,
    numHeads: 2,
    hiddenSize: 8,
    dropout: 0.1,
  });
  const batch = tokenBatch(BATCH, LENGTH, VOCABULARY);
  afterAll(() => disposeModel(model));

  async function train(change: Partial<PlanInput> & { numMicroBatches: number }) {
    const microBatch = BATCH / change.numMicroBatches / (change.mesh?.dp ?? 1);
    const { values, ...graphs } = traced(model, FIELDS, microBatch, true);
    const cluster = await startPlan({ ...graphs, optimizer: OPTIMIZER, clipNorm: 0.5, ...change }, values);
    const losses: number[] = [];
    for (let step = 0; step < NUM_STEPS; step++) {
      const results = await cluster.run('train', step, batch);
      losses.push(lossOf(results));
    }
    const evaluated = lossOf(await cluster.run('evaluate', NUM_STEPS, batch));
    const predictions = await cluster.run('predict', NUM_STEPS, new Map([['tokens', batch.get('tokens')!]]));
    const perReplica = cluster.plan.mesh.dp;
    const endOfModel = cluster.plan.ranks.filter(
      (r) => predictions[r.rank]!.outputs.size > 0 && r.coordinates.tp === 0,
    );
    const outputs = endOfModel.flatMap(({ rank }) => [...[...predictions[rank]!.outputs.values()][0]!]);
    const parameters = await cluster.parameters();
    cluster.close();
    return { losses, evaluated, outputs, parameters, plan: cluster.plan, perReplica };
  }

  let serial: Awaited<ReturnType<typeof train>>;
  beforeAll(async () => {
    serial = await train({ numMicroBatches: 1 });
  });

  it('learns in one process', () => {
    expect(serial.losses[0]).toBeGreaterThan(serial.losses.at(-1)!);
    expect(serial.evaluated).toBeLessThan(serial.losses[0]!);
  });

  it.each(LAYOUTS)('%s', async (_, change) => {
    const parallel = await train(change);
    parallel.losses.forEach((loss, step) => {
      expect(Math.abs(loss - serial.losses[step]!) / serial.losses[step]!).toBeLessThan(1e-5);
    });
    expect(parallel.evaluated).toBeCloseTo(serial.evaluated, 4);
    expect(maxDifference(serial.parameters, parallel.parameters)).toBeLessThan(1e-4);
    expect(parallel.outputs).toHaveLength(serial.outputs.length);
    expect(Math.max(...parallel.outputs.map((value, i) => Math.abs(value - serial.outputs[i]!)))).toBeLessThan(1e-3);
    const report = planReport(parallel.plan);
    expect(report.ranks).toHaveLength(parallel.plan.ranks.length);
    expect(explainPlan(parallel.plan)).toContain('schedule');
    if (process.env.DEBUG) console.log(explainPlan(parallel.plan));
  });
});
