/** Schedules against the published timelines, closed forms, and the checker, for every p and m. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { checkSchedule } from '../../src/pipeline/check.js';
import { drawSchedule, listTimeline } from '../../src/pipeline/draw.js';
import { forwardOnly } from '../../src/pipeline/forwardOnly.js';
import { oneForwardOneBackward } from '../../src/pipeline/oneForwardOneBackward.js';
import { scheduleByName } from '../../src/pipeline/registry.js';
import type { Schedule } from '../../src/pipeline/schedule.js';
import { shiftedCriticalPath } from '../../src/pipeline/shiftedCriticalPath.js';
import { makespan, timeline } from '../../src/pipeline/timeline.js';

const unit = { forward: 1, recompute: 1, backward: 2 };
const all = (p: number) => Array.from({ length: p }, () => true);
const allButLast = (p: number) => Array.from({ length: p }, (_, stage) => stage < p - 1);
const code = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    if (error instanceof MerakError) return error.code;
    throw error;
  }
  return 'none';
};

describe('timelines of merak.md 3.3 (p 4, m 8, F = R = 1, B = 2)', () => {
  it('1F1B takes 44', () => {
    const rows = listTimeline(oneForwardOneBackward(4, 8), { ...unit, recomputes: all(4) });
    expect(rows.slice(0, 3)).toEqual([
      'F0@0 F1@1 F2@2 F3@3 RB0@13 F4@16 RB1@17 F5@20 RB2@21 F6@24 RB3@25 F7@28 RB4@29 RB5@33 RB6@37 RB7@41',
      'F0@1 F1@2 F2@3 RB0@10 F3@13 RB1@14 F4@17 RB2@18 F5@21 RB3@22 F6@25 RB4@26 F7@29 RB5@30 RB6@34 RB7@38',
      'F0@2 F1@3 RB0@7 F2@10 RB1@11 F3@14 RB2@15 F4@18 RB3@19 F5@22 RB4@23 F6@26 RB5@27 F7@30 RB6@31 RB7@35',
    ]);
    expect(makespan(timeline(oneForwardOneBackward(4, 8), { ...unit, recomputes: all(4) }))).toBe(44);
  });

  it('SCP takes 38', () => {
    const schedule = shiftedCriticalPath(4, 8);
    const rows = listTimeline(schedule, { ...unit, recomputes: allButLast(4) });
    expect(rows).toEqual([
      'F0@0 F1@1 F2@2 F3@3 RB0@10 F4@13 RB1@14 F5@17 RB2@18 F6@21 RB3@22 F7@25 RB4@26 R5@29 B5@30 R6@32 B6@33 R7@35 B7@36',
      'F0@1 F1@2 F2@3 R0@4 B0@8 F3@10 RB1@11 F4@14 RB2@15 F5@18 RB3@19 F6@22 RB4@23 F7@26 RB5@27 R6@30 B6@31 R7@33 B7@34',
      'F0@2 F1@3 F2@4 R0@5 B0@6 R1@8 B1@9 F3@11 RB2@12 F4@15 RB3@16 F5@19 RB4@20 F6@23 RB5@24 F7@27 RB6@28 RB7@31',
      'F0@3 B0@4 F1@6 B1@7 F2@9 B2@10 F3@12 B3@13 F4@16 B4@17 F5@20 B5@21 F6@24 B6@25 F7@28 B7@29',
    ]);
    expect(makespan(timeline(schedule, { ...unit, recomputes: allButLast(4) }))).toBe(38);
    expect(checkSchedule(schedule).forward).toEqual([4, 3, 3, 1]);
    expect(drawSchedule(schedule, { recomputes: allButLast(4) })).toContain('scp: 38 units; idle per stage 6 6 6 14');
  });

  it('makespans of 3.5 and the closed form without recomputation', () => {
    for (const [p, m, oneF, scp] of [
      [4, 4, 28, 22],
      [8, 16, 92, 82],
    ] as const) {
      expect(makespan(timeline(oneForwardOneBackward(p, m), { ...unit, recomputes: all(p) }))).toBe(oneF);
      expect(makespan(timeline(shiftedCriticalPath(p, m), { ...unit, recomputes: allButLast(p) }))).toBe(scp);
    }
  });
});

describe('the checker', () => {
  it('passes both generators for every p and m, with the 1F1B bound on what is in flight', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 64 }), (p, m) => {
        const inFlight = checkSchedule(oneForwardOneBackward(p, m)).forward;
        expect(inFlight).toEqual(inFlight.map((_, stage) => Math.min(p - stage, m)));
        const shifted = checkSchedule(shiftedCriticalPath(p, m));
        expect(shifted.forward).toEqual(
          shifted.forward.map((_, stage) => Math.min(stage === p - 2 ? 3 : p - stage, m)),
        );
        expect(Math.max(...shifted.recomputed)).toBeLessThanOrEqual(1);
        expect(checkSchedule(forwardOnly({ numStages: p }, m)).forward).toHaveLength(p);
        // No schedule beats the flow bound, and 1F1B without recomputation meets it.
        const bare = makespan(timeline(oneForwardOneBackward(p, m), { ...unit, recomputes: [] }));
        expect(bare).toBe((m + p - 1) * 3);
      }),
      { numRuns: 60 },
    );
  });

  it('finds the deadlock of blocking sends', () => {
    expect(code(() => checkSchedule(oneForwardOneBackward(2, 2), { blockingSends: true }))).toBe('plan/deadlock');
    expect(code(() => checkSchedule(oneForwardOneBackward(1, 2), { blockingSends: true }))).toBe('none');
    expect(code(() => checkSchedule(forwardOnly({ numStages: 4 }, 4), { blockingSends: true }))).toBe('none');
  });

  it('finds a deadlock of order and of slots', () => {
    const f = (micro: number) => ({ kind: 'F', micro }) as const;
    const b = (micro: number) => ({ kind: 'B', micro }) as const;
    const crossed: Schedule = {
      name: 'crossed',
      numStages: 2,
      numMicroBatches: 2,
      stages: [
        [f(0), b(0), f(1), b(1)],
        [f(0), f(1), b(0), b(1)],
      ],
    };
    expect(code(() => checkSchedule(crossed))).toBe('plan/deadlock');
    const bursts: Schedule = { ...crossed, stages: [[f(0), f(1), b(0), b(1)], crossed.stages[1] ?? []] };
    expect(code(() => checkSchedule(bursts, { slots: 1 }))).toBe('none');
  });

  it('refuses lists that are incomplete, doubled, disordered', () => {
    const good = shiftedCriticalPath(3, 5);
    const mutate = (stage: number, change: (tasks: Schedule['stages'][number]) => Schedule['stages'][number]) => ({
      ...good,
      stages: good.stages.map((tasks, s) => (s === stage ? change(tasks) : tasks)),
    });
    fc.assert(
      fc.property(fc.nat(2), fc.nat(100), (stage, pick) => {
        const length = good.stages[stage]?.length ?? 1;
        const at = pick % length;
        const task = good.stages[stage]?.[at];
        if (task !== undefined && task.kind !== 'R') {
          expect(code(() => checkSchedule(mutate(stage, (t) => t.filter((_, i) => i !== at))))).toBe('plan/invalid');
        }
        expect(code(() => checkSchedule(mutate(stage, (t) => [...t, ...t.slice(at, at + 1)])))).toBe('plan/invalid');
      }),
    );
    expect(code(() => checkSchedule(mutate(1, (t) => [...t].reverse())))).toBe('plan/invalid');
    expect(code(() => oneForwardOneBackward(0, 3))).toBe('plan/invalid');
    expect(code(() => scheduleByName('1f2b', 2, 2))).toBe('config/invalid');
    expect(scheduleByName('scp', 2, 2).name).toBe('scp');
  });
});
