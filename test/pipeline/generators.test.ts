/** Every schedule for every p and m: sound, within its memory bound, and as fast as its closed form says. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MerakError } from '../../src/errors.js';
import { checkSchedule, inFlightByVirtualStage } from '../../src/pipeline/check.js';
import { earlyRecompute } from '../../src/pipeline/earlyRecompute.js';
import { forwardOnly } from '../../src/pipeline/forwardOnly.js';
import { gpipe } from '../../src/pipeline/gpipe.js';
import { interleaved } from '../../src/pipeline/interleaved.js';
import { oneForwardOneBackward } from '../../src/pipeline/oneForwardOneBackward.js';
import { recomputingStages } from '../../src/pipeline/recomputingStages.js';
import { canHaveChunks, SCHEDULE_NAMES, scheduleByName } from '../../src/pipeline/registry.js';
import type { Placement, Schedule } from '../../src/pipeline/schedule.js';
import { shiftedCriticalPath } from '../../src/pipeline/shiftedCriticalPath.js';
import { makespan, timeline } from '../../src/pipeline/timeline.js';
import { numVirtualStages, placeOf, virtualStagesOn } from '../../src/pipeline/virtualStages.js';
import { zeroBubbleH1 } from '../../src/pipeline/zeroBubbleH1.js';
import { zeroBubbleV } from '../../src/pipeline/zeroBubbleV.js';

const stages = fc.integer({ min: 1, max: 16 });
const micros = fc.integer({ min: 1, max: 64 });
const all = (p: number) => Array.from({ length: p }, () => true);
const allButLast = (p: number) => Array.from({ length: p }, (_, stage) => stage < p - 1);
const span = (schedule: Schedule, f: number, r: number, b: number, recomputes: readonly boolean[], w = 0) =>
  makespan(timeline(schedule, { forward: f, recompute: r, backward: b, weight: w, recomputes }));
const wholeGroups = (p: number, m: number) => Math.ceil(m / p) * p;
const code = (body: () => unknown): string => {
  try {
    body();
    return 'none';
  } catch (error) {
    return error instanceof MerakError ? error.code : String(error);
  }
};

describe('all schedules, p 1-16, m 1-64', () => {
  it.each(SCHEDULE_NAMES)('%s is complete, ordered, live with two send slots', (name) => {
    fc.assert(
      fc.property(stages, micros, fc.boolean(), fc.integer({ min: 1, max: 4 }), (p, m, recomputes, chunks) => {
        const numChunks = canHaveChunks(name, chunks) ? chunks : undefined;
        const schedule = scheduleByName(name, p, m, { recomputes, numChunks });
        const { forward, recomputed, held } = checkSchedule(schedule);
        const v = schedule.numChunks ?? 1;
        for (let stage = 0; stage < p; stage++) {
          const bound: Record<string, number> = {
            gpipe: m,
            '1f1b': Math.min(p - stage, m),
            '1f1b-early': Math.min(p - stage, m),
            scp: Math.min(stage === p - 2 ? 3 : p - stage, m),
            interleaved: Math.min(2 * (p - 1 - stage) + (v - 1) * p + 1, m * v),
            'zb-h1': Math.min(recomputes ? Math.max(p, 3) : p, m),
            'zb-v': Math.min(2 * p, 2 * m),
          };
          expect(held[stage]).toBeGreaterThanOrEqual(forward[stage]!);
          expect(held[stage], `${name} ${p} ${m} stage ${stage}`).toBeLessThanOrEqual(bound[name]!);
          expect(recomputed[stage]).toBeLessThanOrEqual(name === 'zb-v' ? 2 : 1);
        }
      }),
      { numRuns: 80 },
    );
  });

  it('with sends that wait for the receiver only GPipe finishes, the others deadlock or never had to wait', () => {
    fc.assert(
      fc.property(stages, micros, fc.constantFrom(...SCHEDULE_NAMES), (p, m, name) => {
        const schedule = scheduleByName(name, p, m);
        const verdict = code(() => checkSchedule(schedule, { blockingSends: true }));
        if (name === 'gpipe' || p === 1 || m === 1) expect(verdict).toBe('none');
        else expect(verdict, `${name} ${p} ${m}`).toBe('plan/deadlock');
      }),
      { numRuns: 100 },
    );
  });

  it('counts below one are refused by all', () => {
    for (const name of SCHEDULE_NAMES) {
      expect(code(() => scheduleByName(name, 0, 4))).toBe('plan/invalid');
      expect(code(() => scheduleByName(name, 4, 0))).toBe('plan/invalid');
      expect(code(() => scheduleByName(name, 4, 1.5))).toBe('plan/invalid');
    }
    expect(code(() => interleaved(2, 2, 0))).toBe('plan/invalid');
    expect(code(() => scheduleByName('interleaved', 2, 2, { numChunks: 0 }))).toBe('plan/invalid');
  });

  it('chunks that a schedule cannot have are refused', () => {
    expect(code(() => scheduleByName('1f1b', 2, 2, { numChunks: 2 }))).toBe('config/invalid');
    expect(code(() => scheduleByName('zb-v', 2, 2, { numChunks: 3 }))).toBe('config/invalid');
    expect(scheduleByName('zb-v', 2, 2, { numChunks: 2 }).numChunks).toBe(2);
    expect(scheduleByName('scp', 2, 2, { numChunks: 1 }).numChunks ?? 1).toBe(1);
    expect(scheduleByName('interleaved', 2, 2, { numChunks: 3 }).numChunks).toBe(3);
  });

  it('forward only: every micro-batch through every chunk, whatever the placement', () => {
    fc.assert(
      fc.property(
        stages,
        micros,
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom<Placement>('loop', 'vee'),
        fc.integer({ min: 1, max: 2 }),
        (p, m, v, placement, slots) => {
          const layout = { numStages: p, numChunks: v, placement };
          const schedule = forwardOnly(layout, m);
          expect(checkSchedule(schedule, { slots }).forward).toHaveLength(p);
          // The pipeline fills once: the stage that ends the model idles only until the first micro-batch gets there.
          if (placement === 'loop')
            expect(span(schedule, 1, 0, 0, [])).toBeLessThanOrEqual(v * wholeGroups(p, m) + p - 1);
          else if (v === 2) expect(span(schedule, 1, 0, 0, [])).toBeLessThanOrEqual(2 * (m + p - 1));
        },
      ),
      { numRuns: 80 },
    );
  });

  it('spare the last virtual stage where its backward follows its forward at once, and there alone', () => {
    fc.assert(
      fc.property(stages, micros, fc.constantFrom('scp', 'zb-h1', 'zb-v'), (p, m, name) => {
        const schedule = scheduleByName(name, p, m, { recomputes: true });
        const numVirtual = numVirtualStages(schedule);
        expect(recomputingStages(name, numVirtual)).toEqual(allButLast(numVirtual));
        const { stage, chunk } = placeOf(schedule, numVirtual - 1);
        const own = schedule.stages[stage]!.filter((task) => task.kind !== 'R');
        own.forEach((task, at) => {
          if (task.kind !== 'F' || (task.chunk ?? 0) !== chunk) return;
          expect(own[at + 1]).toEqual({ ...task, kind: 'B' });
        });
      }),
      { numRuns: 60 },
    );
    expect(recomputingStages('1f1b', 3)).toEqual([true, true, true]);
    expect(recomputingStages('interleaved', 2)).toEqual([true, true]);
  });

  it('what each virtual stage holds adds up to what its stage holds at the least', () => {
    fc.assert(
      fc.property(stages, micros, fc.constantFrom(...SCHEDULE_NAMES), fc.boolean(), (p, m, name, recomputes) => {
        const schedule = scheduleByName(name, p, m, { recomputes });
        const [whole, single] = [checkSchedule(schedule), inFlightByVirtualStage(schedule)];
        for (let stage = 0; stage < p; stage++) {
          const chunks = virtualStagesOn(schedule, stage).map((virtual) => single.held[virtual]!);
          expect(Math.max(...chunks)).toBeLessThanOrEqual(whole.held[stage]!);
          expect(chunks.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(whole.held[stage]!);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('closed forms of merak.md 3.4 (R = F, B <= F + R, m >= p)', () => {
  const sizes = fc
    .integer({ min: 2, max: 12 })
    .chain((p) => fc.record({ p: fc.constant(p), m: fc.integer({ min: Math.max(4, p), max: 40 }) }));
  const costs = fc.record({ f: fc.integer({ min: 1, max: 5 }), b: fc.integer({ min: 1, max: 10 }) });

  it('1F1B, early R, last stage without R, SCP, no recomputation', () => {
    fc.assert(
      fc.property(sizes, costs, ({ p, m }, { f, b: any }) => {
        const b = Math.min(Math.max(any, f), 2 * f);
        const full = f + f + b;
        expect(span(oneForwardOneBackward(p, m), f, f, b, all(p))).toBe((m + p - 1) * full);
        expect(span(earlyRecompute(p, m), f, f, b, all(p))).toBe(m * full + (p - 1) * (f + b));
        expect(span(oneForwardOneBackward(p, m), f, f, b, [])).toBe((m + p - 1) * (f + b));
        expect(span(gpipe(p, m), f, 0, b, [])).toBe((m + p - 1) * (f + b));
        if (p > 2) {
          const lastNone = m * full + (p - 2) * (f + b) + f;
          expect(span(earlyRecompute(p, m), f, f, b, allButLast(p))).toBeLessThanOrEqual(lastNone);
          expect(span(earlyRecompute(p, m), f, f, 2 * f, allButLast(p))).toBe(m * 4 * f + (p - 2) * 3 * f + f);
          expect(span(shiftedCriticalPath(p, m), f, f, b, allButLast(p))).toBe(m * full + (p - 2) * (f + b));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('the table of 3.5', () => {
    for (const [p, m, none, plain, early, lastNone, scp] of [
      [4, 4, 21, 28, 25, 23, 22],
      [4, 8, 33, 44, 41, 39, 38],
      [8, 16, 69, 92, 85, 83, 82],
    ] as const) {
      expect(span(oneForwardOneBackward(p, m), 1, 1, 2, [])).toBe(none);
      expect(span(oneForwardOneBackward(p, m), 1, 1, 2, all(p))).toBe(plain);
      expect(span(earlyRecompute(p, m), 1, 1, 2, all(p))).toBe(early);
      expect(span(earlyRecompute(p, m), 1, 1, 2, allButLast(p))).toBe(lastNone);
      expect(span(shiftedCriticalPath(p, m), 1, 1, 2, allButLast(p))).toBe(scp);
    }
  });
});

describe('schedules beyond the paper (merak.md 8; F = B = W = 1)', () => {
  it('ZB-H1 and ZB-V meet their closed forms', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 0, max: 40 }), (p, extra) => {
        const m = Math.max(1, 2 * p - 1) + extra;
        expect(span(zeroBubbleH1(p, m), 1, 0, 1, [], 1)).toBe(3 * m + p - 1);
        expect(span(zeroBubbleV(p, m), 1, 0, 1, [], 1)).toBe(6 * m + p - 1);
      }),
      { numRuns: 80 },
    );
  });

  it('ZB-H1 with early recomputation takes m (F+R+B+W) + (p-2)(F+B): 36 and 76 as the table says', () => {
    const zb = (p: number, m: number) => span(zeroBubbleH1(p, m, true), 1, 1, 1, allButLast(p), 1);
    expect([zb(4, 8), zb(8, 16)]).toEqual([36, 76]);
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 16 }), fc.integer({ min: 4, max: 48 }), (p, extra) => {
        expect(zb(p, p + extra)).toBe(4 * (p + extra) + 2 * (p - 2));
      }),
      { numRuns: 50 },
    );
  });

  it('both beat the greedy list of the table without recomputation (29 and 57)', () => {
    expect([span(zeroBubbleH1(4, 8), 1, 0, 1, [], 1), span(zeroBubbleH1(8, 16), 1, 0, 1, [], 1)]).toEqual([27, 55]);
  });

  it('interleaving divides the bubble by the chunks when p divides m', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 8 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 4 }),
        (p, k, v) => {
          const schedule = interleaved(p, k * p, v);
          expect(span(schedule, 1, 0, 2, [])).toBe(3 * v * k * p + 3 * (p - 1));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('no schedule is slower than 1F1B under recomputation, nor faster than its work', () => {
    fc.assert(
      fc.property(stages, micros, fc.constantFrom(...SCHEDULE_NAMES), (p, m, name) => {
        if (name === 'gpipe') return;
        const schedule = scheduleByName(name, p, m, { recomputes: true });
        const v = schedule.numChunks ?? 1;
        const recomputes = allButLast(numVirtualStages(schedule));
        const time = span(schedule, 1 / v, 1 / v, 1 / v, recomputes, 1 / v);
        expect(time).toBeGreaterThanOrEqual(
          m * (p === 1 && v === 1 ? 3 : p === 1 ? 4 - 1 / v : 3 + (p > 1 ? 1 / v : 0)) - 1e-9,
        );
        const baseline = span(oneForwardOneBackward(p, m), 1, 1, 1, all(p), 1);
        expect(time, `${name} ${p} ${m}`).toBeLessThanOrEqual(baseline + 1e-9);
      }),
      { numRuns: 100 },
    );
  });
});
