/** The simulator against brute force, against hand-made cases of contention, slots and collectives, and its exports. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSchedule } from '../../src/pipeline/check.js';
import { chromeTrace } from '../../src/pipeline/chromeTrace.js';
import { gpipe } from '../../src/pipeline/gpipe.js';
import { interleaved } from '../../src/pipeline/interleaved.js';
import { oneForwardOneBackward } from '../../src/pipeline/oneForwardOneBackward.js';
import { SCHEDULE_NAMES, scheduleByName } from '../../src/pipeline/registry.js';
import type { Boundary, SimulationInput, VirtualStageSeconds } from '../../src/pipeline/simulate.js';
import { simulate } from '../../src/pipeline/simulate.js';
import { zeroBubbleH1 } from '../../src/pipeline/zeroBubbleH1.js';
import { zeroBubbleV } from '../../src/pipeline/zeroBubbleV.js';
import { ticks } from './bruteForce.js';

const unit: VirtualStageSeconds = { forward: 1, recompute: 0, inputGradient: 1, weightGradient: 1 };
const stagesOf = (count: number, seconds = unit) => Array.from({ length: count }, () => seconds);
const over = (bytes: number, ...route: number[]): Boundary => ({
  activation: { bytes, route },
  gradient: { bytes, route: route.map((link) => link + 1) },
});

describe('against brute force', () => {
  it('agrees on random stage costs, hops and schedules to the tick', () => {
    const cost = fc.record({
      forward: fc.integer({ min: 0, max: 5 }),
      recompute: fc.integer({ min: 0, max: 4 }),
      input: fc.integer({ min: 0, max: 6 }),
      weight: fc.integer({ min: 0, max: 4 }),
    });
    const names = SCHEDULE_NAMES.filter((name) => name !== 'interleaved' && name !== 'zb-v');
    const input = fc.record({
      name: fc.constantFrom(...names),
      costs: fc.array(cost, { minLength: 1, maxLength: 6 }),
      m: fc.integer({ min: 1, max: 12 }),
      hop: fc.integer({ min: 0, max: 3 }),
      recomputes: fc.boolean(),
    });
    fc.assert(
      fc.property(input, ({ name, costs, m, hop, recomputes }) => {
        const schedule = scheduleByName(name, costs.length, m, { recomputes });
        const transfer = { bytes: 0, route: [], latencySeconds: hop };
        const { stepSeconds, bubble, idleSeconds } = simulate({
          schedule,
          seconds: costs.map((c) => ({ ...c, inputGradient: c.input, weightGradient: c.weight })),
          boundaries: costs.map(() => ({ activation: transfer, gradient: transfer })),
          sendSlots: Number.POSITIVE_INFINITY,
        });
        expect(stepSeconds).toBe(
          ticks(
            schedule,
            costs.map((c) => ({ ...c, hop })),
          ),
        );
        expect(bubble).toBeGreaterThanOrEqual(0);
        for (const idle of idleSeconds) expect(idle).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 150 },
    );
  });

  it('hop costs follow merak.md 3.4: 1F1B adds c [2m(p-1)/p + 2(p-2)] when p divides m', () => {
    const span = (p: number, m: number, c: number) => {
      const transfer = { bytes: 0, route: [], latencySeconds: c };
      return simulate({
        schedule: oneForwardOneBackward(p, m),
        seconds: stagesOf(p, { forward: 1, recompute: 1, inputGradient: 1, weightGradient: 1 }),
        boundaries: stagesOf(p).map(() => ({ activation: transfer, gradient: transfer })),
        sendSlots: Number.POSITIVE_INFINITY,
      }).stepSeconds;
    };
    for (const [p, m] of [
      [4, 8],
      [4, 16],
      [8, 16],
    ] as const) {
      expect(span(p, m, 0.01) - span(p, m, 0)).toBeCloseTo(0.01 * ((2 * m * (p - 1)) / p + 2 * (p - 2)), 6);
    }
  });
});

describe('links', () => {
  const links = [
    { name: 'down', latencySeconds: 0.5, bytesPerSecond: 10 },
    { name: 'up', latencySeconds: 0.5, bytesPerSecond: 10 },
  ];
  const two = (change: Partial<SimulationInput>) =>
    simulate({
      schedule: oneForwardOneBackward(2, 1),
      seconds: stagesOf(2),
      boundaries: [over(20, 0)],
      links,
      ...change,
    });

  it('a message takes latency plus bytes over bandwidth', () => {
    // F 1, message 2.5, F 1, B+W 2, message 2.5, B+W 2.
    const { stepSeconds, transfers } = two({});
    expect(stepSeconds).toBeCloseTo(11, 9);
    expect(transfers.map(({ label, start, end }) => `${label} ${start}-${end}`)).toEqual(['a0 1-3.5', 'g0 6.5-9']);
  });

  it('copies and neighbours share a link evenly', () => {
    const copies: Boundary = {
      activation: { bytes: 20, route: [0], copies: 4 },
      gradient: { bytes: 20, route: [1], copies: 4 },
    };
    expect(two({ boundaries: [copies] }).stepSeconds).toBeCloseTo(1 + 8.5 + 1 + 2 + 8.5 + 2, 9);
    // GPipe, instant forwards: two messages at once on one link end together, at half the rate each.
    const { transfers } = simulate({
      schedule: gpipe(2, 2),
      seconds: stagesOf(2, { ...unit, forward: 0 }),
      boundaries: [over(20, 0)],
      links: links.map((link) => ({ ...link, latencySeconds: 0 })),
    });
    const activations = transfers.filter(({ what }) => what === 'activation');
    expect(activations.map(({ end }) => end)).toEqual([4, 4]);
  });

  it('a transfer that joins later slows the first only from then on', () => {
    const schedule = gpipe(2, 2);
    const { transfers } = simulate({
      schedule,
      seconds: [{ ...unit, forward: 1 }, unit],
      boundaries: [over(20, 0)],
      links: links.map((link) => ({ ...link, latencySeconds: 0 })),
    });
    // First alone 1-2 (10 bytes), both 2-4 (10 bytes each), second alone 4-5.
    expect(transfers.filter(({ what }) => what === 'activation').map(({ end }) => end)).toEqual([4, 5]);
  });

  it('conserves bytes: no link carries more than its bandwidth allows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 50 }),
        (p, m, bytes) => {
          const { transfers, stepSeconds } = simulate({
            schedule: oneForwardOneBackward(p, m),
            seconds: stagesOf(p),
            boundaries: stagesOf(p).map(() => over(bytes, 0)),
            links,
          });
          const busy = Math.max(...transfers.map(({ end }) => end)) - Math.min(...transfers.map(({ start }) => start));
          expect(busy * 10 + 1e-6).toBeGreaterThanOrEqual((p - 1) * m * bytes);
          expect(transfers).toHaveLength(2 * (p - 1) * m);
          expect(stepSeconds).toBeGreaterThan(3 * m);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('a receiver that copies itself pays for it; slots hold a sender back', () => {
    const noLatency = links.map((link) => ({ ...link, latencySeconds: 0 }));
    const receiver = two({ transfers: 'receiver', links: noLatency });
    expect(receiver.stepSeconds).toBeCloseTo(1 + 2 + 1 + 2 + 2 + 2, 9);
    // Stage 1 is slow; with two slots stage 0 cannot start its fourth forward before the second was taken.
    const slow = { ...unit, forward: 10 };
    const run = (sendSlots: number) =>
      simulate({ schedule: gpipe(2, 4), seconds: [unit, slow], transfers: 'receiver', sendSlots }).tasks[0]!;
    expect(
      run(2)
        .map(({ start }) => start)
        .slice(0, 4),
    ).toEqual([0, 1, 2, 11]);
    expect(
      run(9)
        .map(({ start }) => start)
        .slice(0, 4),
    ).toEqual([0, 1, 2, 3]);
  });
});

describe('the end of a step', () => {
  it('collectives wait for all their stages, in order, then stages update', () => {
    const { stepSeconds, pipelineSeconds, transfers } = simulate({
      schedule: oneForwardOneBackward(2, 1),
      seconds: stagesOf(2),
      links: [{ name: 'ring', latencySeconds: 0, bytesPerSecond: 1 }],
      collectives: [
        { name: 'gradients 1', stages: [1], transfer: { bytes: 3, route: [0] } },
        { name: 'gradients 0', stages: [0], transfer: { bytes: 3, route: [0] } },
        { name: 'tied', stages: [0, 1], transfer: { bytes: 0, route: [], latencySeconds: 1 } },
      ],
      updateSeconds: [2, 0],
    });
    // Tasks: stage 1 ends at 4, stage 0 at 6. Rings: 4-7 alone until 6, then shared: 1 byte each way slower.
    expect(pipelineSeconds).toBe(6);
    const ends = Object.fromEntries(
      transfers.filter((t) => t.what === 'collective').map(({ label, end }) => [label, end]),
    );
    expect(ends).toEqual({ 'gradients 1': 8, 'gradients 0': 10, tied: 11 });
    expect(stepSeconds).toBe(13);
  });
});

describe('memory by the order of tasks', () => {
  it('is what the checker says is held, weighed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('gpipe', '1f1b', 'zb-h1', 'interleaved', 'zb-v'),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 20 }),
        (name, p, m) => {
          const schedule = scheduleByName(name, p, m);
          const numVirtual = p * (schedule.numChunks ?? 1);
          const memory = Array.from({ length: numVirtual }, () => ({
            fixedBytes: 100,
            keptBytes: 7,
            recomputedBytes: 0,
          }));
          const { peakBytes } = simulate({ schedule, seconds: stagesOf(numVirtual), memory });
          const held = checkSchedule(schedule).held;
          expect(peakBytes).toEqual(held.map((count) => 100 * (schedule.numChunks ?? 1) + 7 * count));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('recomputation adds one micro-batch of activations to the checkpoints (merak.md 4)', () => {
    const memory = Array.from({ length: 4 }, () => ({ fixedBytes: 0, keptBytes: 1, recomputedBytes: 50 }));
    const { peakBytes } = simulate({ schedule: oneForwardOneBackward(4, 8), seconds: stagesOf(4), memory });
    expect(peakBytes).toEqual([54, 53, 52, 51]);
    expect(simulate({ schedule: zeroBubbleH1(4, 8, true), seconds: stagesOf(4), memory }).peakBytes).toEqual([
      54, 53, 53, 51,
    ]);
  });
});

describe('exports', () => {
  it('Chrome trace: every span once, nothing overlapping in a row', () => {
    for (const schedule of [interleaved(3, 6), zeroBubbleV(3, 6)]) {
      const simulation = simulate({
        schedule,
        seconds: stagesOf(6),
        boundaries: stagesOf(6).map(() => over(1, 0)),
        links: [
          { name: 'down', latencySeconds: 0.1, bytesPerSecond: 10 },
          { name: 'up', latencySeconds: 0.1, bytesPerSecond: 10 },
        ],
      });
      const { traceEvents } = JSON.parse(JSON.stringify(chromeTrace(simulation))) as ReturnType<typeof chromeTrace>;
      for (let stage = 0; stage < 3; stage++) {
        const spans = traceEvents.filter(({ ph, pid, tid }) => ph === 'X' && pid === 0 && tid === stage);
        expect(spans).toHaveLength(schedule.stages[stage]!.length);
        spans.forEach(({ ts = 0 }, i) => {
          const before = spans[i - 1];
          if (before !== undefined) expect(ts).toBeGreaterThanOrEqual(before.ts! + before.dur! - 1e-3);
        });
      }
      const arrows = traceEvents.filter(({ ph }) => ph === 's').length;
      expect(arrows).toBe(simulation.transfers.length);
    }
  });
});
