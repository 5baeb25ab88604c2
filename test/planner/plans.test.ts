/** Plans as values: memory, messages, buckets, degrees, limits, and executables added later. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { gpt } from '../../src/models/gpt.js';
import { memoryReport } from '../../src/plan/memoryReport.js';
import type { Instruction, Plan } from '../../src/plan/plan.js';
import { decodePlan, encodePlan } from '../../src/plan/serialize.js';
import { buildExecutable } from '../../src/planner/buildExecutable.js';
import { buildPlan, type PlanInput } from '../../src/planner/buildPlan.js';
import { chooseBatch, chooseDegrees } from '../../src/planner/defaults.js';
import type { Batch } from '../../src/trace/model.js';
import { misreads } from '../plan/byteMemory.js';
import { type TracedModel, traced } from './training.js';

const FIELDS = ['tokens', 'targets'].map((name) => ({ name, shape: [6], dtype: 'int32' as const }));
const ADAM = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weightDecay: 0.01 } as const;
let model: TracedModel;
let wider: TracedModel;

beforeAll(() => {
  const config = { vocabularySize: 11, contextLength: 6, numLayers: 5, numHeads: 2, hiddenSize: 8, dropout: 0.1 };
  const variables = gpt(config);
  model = traced(variables, FIELDS, 2, true);
  wider = traced(variables, FIELDS, 5, true);
});

function plan(change: Partial<PlanInput>): Plan {
  const { values: _, ...graphs } = model;
  return buildPlan({ ...graphs, optimizer: ADAM, numMicroBatches: 4, ...change });
}

function failure(body: () => unknown): MerakError {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const SHAPES: Partial<PlanInput>[] = [
  {},
  { recompute: 'full' },
  { mesh: { pp: 2 } },
  { mesh: { pp: 4 }, schedule: 'scp', recompute: 'full' },
  { mesh: { pp: 3, tp: 2 }, schedule: 'scp' },
  { mesh: { pp: 2, dp: 2, tp: 2 }, recompute: 'full' },
  { mesh: { pp: 4 }, schedule: 'zb-h1' },
  { mesh: { pp: 3, tp: 2 }, schedule: 'zb-h1', recompute: 'full' },
  { mesh: { pp: 2 }, schedule: 'gpipe' },
  { mesh: { pp: 1 }, schedule: 'zb-v' },
  { mesh: { pp: 2 }, schedule: 'interleaved', numChunks: 3 },
  { mesh: { pp: 2 }, schedule: 'interleaved', recompute: 'full', numMicroBatches: 3 },
  { mesh: { pp: 3 }, schedule: 'zb-v' },
  { mesh: { pp: 3, tp: 2 }, schedule: 'zb-v', recompute: 'full', numMicroBatches: 2 },
];

describe('every rank of a plan', () => {
  it.each(SHAPES)('%j reads what it wrote, and fits what it planned', (change) => {
    const built = plan(change);
    for (const rank of built.ranks) {
      for (const executable of rank.executables) expect(misreads(rank, executable)).toEqual([]);
    }
    expect(decodePlan(encodePlan(built))).toStrictEqual(built);
  });

  it.each(SHAPES)('%j sends what its peer receives', (change) => {
    const built = plan(change);
    for (const rank of built.ranks) {
      rank.executables.forEach((executable, e) => {
        const messages = (r: number, kind: Instruction['kind'], peer: number, what: string) =>
          built.ranks[r]!.executables[e]!.schedule.flatMap((i) =>
            (i.kind === 'send' || i.kind === 'receive') && i.kind === kind && i.peer === peer && i.what === what
              ? [`micro-batch ${i.micro}, ${i.bytes} bytes`]
              : [],
          );
        for (const instruction of executable.schedule) {
          if (instruction.kind !== 'send') continue;
          const { peer, what } = instruction;
          expect(instruction.bytes).toBeGreaterThan(0);
          expect(messages(rank.rank, 'send', peer, what)).toEqual(messages(peer, 'receive', rank.rank, what));
        }
      });
    }
  });

  it('counts each logical parameter once in the norm, and reduces each gradient in one bucket', () => {
    const built = plan({ mesh: { pp: 2, dp: 2, tp: 2 } });
    built.parameters.forEach(({ name, layout }, index) => {
      const counting = built.ranks.filter((rank) =>
        rank.parameters.some(({ parameter, countsInNorm }) => parameter === index && countsInNorm),
      );
      expect(counting, name).toHaveLength(layout.kind === 'shard' ? 4 : 2);
    });
    for (const rank of built.ranks) {
      expect(rank.gradientBuckets.length).toBeLessThanOrEqual(2);
      for (const { gradientOffset, shape } of rank.parameters.filter(({ trainable }) => trainable)) {
        const end = gradientOffset + 4 * shape.reduce((a, b) => a * b, 1);
        const holding = rank.gradientBuckets.filter(
          (b) => b.offset <= gradientOffset && end <= b.offset + 4 * b.length,
        );
        expect(holding).toHaveLength(1);
      }
      for (const { group, scale } of rank.gradientBuckets) {
        expect(scale).toBe(1 / 2);
        expect(rank.groups.find(({ id }) => id === group)!.ranks).toContain(rank.rank);
      }
    }
    const tied = built.parameters.find(({ stages }) => stages.length > 1)!;
    expect(tied.name).toContain('tokens');
    expect(built.ranks[0]!.groups.find(({ axis }) => axis === 'tie')!.ranks).toEqual([0, 2, 4, 6]);
  });

  it('keeps less with recomputation, and says so stage by stage', () => {
    const peak = (change: Partial<PlanInput>) =>
      Math.max(...memoryReport(plan(change)).map((r) => r.executables.train!));
    expect(peak({ mesh: { pp: 2 }, recompute: 'full' })).toBeLessThan(peak({ mesh: { pp: 2 } }));
    const scp = plan({ mesh: { pp: 3 }, schedule: 'scp', recompute: 'full' });
    expect(scp.stages.map(({ recompute }) => recompute)).toEqual(['full', 'full', 'none']);
  });
});

describe('executables added to a plan', () => {
  it('predict at another batch size on the parameters as they lie', () => {
    const built = plan({ mesh: { pp: 2, tp: 2 } });
    const added = buildExecutable(built, 'predict', wider.predict!, { name: 'predict5' });
    expect(added).toHaveLength(4);
    added.forEach((executable, rank) => {
      expect(executable).toMatchObject({ name: 'predict5', microBatchSize: 5, numMicroBatches: 1 });
      expect(misreads(built.ranks[rank]!, executable)).toEqual([]);
    });
    expect(added[2]!.outputs[0]!.shape).toEqual([5, 6, 11]);
  });

  it('go through the chunks of a plan that has several per stage', () => {
    const built = plan({ mesh: { pp: 2 }, schedule: 'zb-v' });
    expect(built).toMatchObject({ numChunks: 2, placement: 'vee' });
    const added = buildExecutable(built, 'predict', wider.predict!, { name: 'predict5', numMicroBatches: 3 });
    added.forEach((executable, rank) => {
      expect(misreads(built.ranks[rank]!, executable)).toEqual([]);
    });
    // The model begins and ends on stage 0.
    expect(added.map(({ outputs }) => outputs.length)).toEqual([1, 0]);
    expect(added.map(({ inputs }) => inputs.map(({ name }) => name))).toEqual([['tokens'], []]);
    for (const { name, stages, virtualStages } of built.parameters) {
      expect(stages, name).toEqual([...new Set(virtualStages!.map((one) => [0, 1, 1, 0][one]!))].sort());
    }
    // Tied, but between two chunks of one stage: no reduction joins them.
    const tied = built.parameters.find(({ virtualStages }) => virtualStages!.length > 1)!;
    expect(tied).toMatchObject({ stages: [0], virtualStages: [0, 3] });
    expect(built.ranks[0]!.groups.some(({ axis }) => axis === 'tie')).toBe(false);
  });

  it('refuse parameters the plan does not have', () => {
    const other = tf.variable(tf.zeros([6, 3]), true, 'elsewhere');
    const loss = ({ tokens }: Batch) => tf.mean(tf.matMul(tf.cast(tokens!, 'float32'), other)).asScalar();
    const stranger = traced(loss, FIELDS, 2);
    expect(failure(() => buildExecutable(plan({}), 'evaluate', stranger.evaluate)).code).toBe('plan/invalid');
  });
});

describe('bad requests', () => {
  it('too many stages, too little memory, unknown schedules', () => {
    const stages = failure(() => plan({ mesh: { pp: 64 } }));
    expect(stages.code).toBe('plan/too-many-stages');
    expect(stages.expected).toMatch(/^at most \d+$/);
    const memory = failure(() => plan({ mesh: { pp: 2 }, memoryLimitBytes: 20_000 }));
    expect(memory.code).toBe('plan/out-of-memory');
    expect(memory.hint).toMatch(/fits|smaller batch/);
    expect(plan({ mesh: { pp: 2 }, memoryLimitBytes: 100_000_000 }).mesh.pp).toBe(2);
    expect(failure(() => plan({ schedule: '1f2b' })).code).toBe('config/invalid');
    expect(failure(() => plan({ mesh: { pp: 2 }, schedule: 'scp', numChunks: 2 }))).toMatchObject({
      code: 'config/invalid',
      path: 'chunks',
    });
    const chunks = failure(() => plan({ mesh: { pp: 8 }, schedule: 'interleaved', numChunks: 8 }));
    expect(chunks.code).toBe('plan/too-many-stages');
    expect(chunks.received).toBe('8 x 8 = 64');
    expect(chunks.hint).toContain('--pp');
    expect(failure(() => plan({ microBatchSize: 3 })).code).toBe('config/batch');
  });

  it('degrees and batches', () => {
    expect(chooseDegrees({ workers: 8, batchSize: 4 })).toMatchObject({ mesh: { dp: 4, pp: 2, tp: 1 } });
    expect(chooseDegrees({ workers: 8, dp: 2, tp: 2 }).mesh).toEqual({ pp: 2, dp: 2, tp: 2 });
    expect(chooseDegrees({ workers: 8, batchSize: 2, maxStages: 2 }).mesh).toEqual({ dp: 2, pp: 2, tp: 2 });
    expect(chooseDegrees({}).mesh).toEqual({ pp: 1, dp: 1, tp: 1 });
    expect(chooseDegrees({ pp: 2, tp: 3 }).mesh).toEqual({ pp: 2, dp: 1, tp: 3 });
    for (const request of [{ workers: 8, dp: 3 }, { workers: 8, dp: 2, pp: 2, tp: 1 }, { dp: 0 }, { workers: 2.5 }]) {
      expect(failure(() => chooseDegrees(request)).code).toBe('config/degrees');
    }
    const mesh = { pp: 4, dp: 2, tp: 1 };
    expect(chooseBatch({ batchSize: 32, mesh })).toEqual({ numMicroBatches: 8, microBatchSize: 2 });
    expect(chooseBatch({ batchSize: 32, mesh, numMicroBatches: 4 })).toEqual({ numMicroBatches: 4, microBatchSize: 4 });
    expect(failure(() => chooseBatch({ batchSize: 33, mesh })).code).toBe('config/batch');
    expect(failure(() => chooseBatch({ batchSize: 32, mesh, numMicroBatches: 5 })).code).toBe('config/batch');
  });
});
