/** The search's flat play of a schedule against the event simulator, and its in-flight counts against the checker's. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { inFlightByVirtualStage } from '../../src/pipeline/check.js';
import { SCHEDULE_NAMES, scheduleByName } from '../../src/pipeline/registry.js';
import { simulate } from '../../src/pipeline/simulate.js';
import { numVirtualStages, placeOf } from '../../src/pipeline/virtualStages.js';
import { inFlightOf, play, playOrder } from '../../src/planner/search/playOrder.js';

const cost = fc.record({
  forward: fc.integer({ min: 0, max: 5 }),
  recompute: fc.integer({ min: 0, max: 4 }),
  inputGradient: fc.integer({ min: 0, max: 6 }),
  weightGradient: fc.integer({ min: 0, max: 4 }),
});
const schedules = fc
  .record({
    name: fc.constantFrom(...SCHEDULE_NAMES),
    p: fc.integer({ min: 1, max: 6 }),
    m: fc.integer({ min: 1, max: 14 }),
    recomputes: fc.boolean(),
  })
  .map(({ name, p, m, recomputes }) => scheduleByName(name, p, m, { recomputes }));

function both(
  schedule: ReturnType<typeof scheduleByName>,
  seconds: { forward: number; recompute: number; inputGradient: number; weightGradient: number }[],
  occupied: number,
  latency: number,
) {
  const numVirtual = numVirtualStages(schedule);
  const used = Array.from({ length: numVirtual }, (_, virtual) => seconds[virtual % seconds.length]!);
  const isHandOver = (virtual: number) =>
    virtual + 1 < numVirtual && placeOf(schedule, virtual).stage === placeOf(schedule, virtual + 1).stage;
  const links = used.flatMap((_, virtual) =>
    ['down', 'up'].map((name) => ({ name: `${name} ${virtual}`, latencySeconds: latency, bytesPerSecond: 1 })),
  );
  const boundaries = used.map((_, virtual) => ({
    activation: { bytes: occupied, route: isHandOver(virtual) ? [] : [2 * virtual] },
    gradient: { bytes: occupied, route: isHandOver(virtual) ? [] : [2 * virtual + 1] },
  }));
  const { pipelineSeconds } = simulate({ schedule, seconds: used, boundaries, links });
  const hop = { occupiedSeconds: occupied, latencySeconds: latency };
  const ends = play(
    playOrder(schedule),
    used,
    used.flatMap(() => [hop, hop]),
  );
  return { simulated: pipelineSeconds, played: Math.max(...ends) };
}

it('ends when the simulator does where messages take up no link', () => {
  fc.assert(
    fc.property(
      schedules,
      fc.array(cost, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 0, max: 3 }),
      (schedule, seconds, latency) => {
        const { simulated, played } = both(schedule, seconds, 0, latency);
        expect(played).toBeCloseTo(simulated, 9);
      },
    ),
    { numRuns: 200 },
  );
});

it('is off by no more than the messages that overlap on a link', () => {
  fc.assert(
    fc.property(
      schedules,
      fc.array(cost, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 3 }),
      (schedule, seconds, occupied) => {
        const { simulated, played } = both(schedule, seconds, occupied, 0);
        // Sharing a link delays every message but the last of those on it: the simulator is the slower.
        expect(played).toBeLessThanOrEqual(simulated + 1e-9);
        expect(played).toBeGreaterThan(0.6 * simulated);
      },
    ),
    { numRuns: 100 },
  );
});

it('counts in flight what the checker counts', () => {
  fc.assert(
    fc.property(schedules, (schedule) => {
      expect(inFlightOf(schedule)).toEqual(inFlightByVirtualStage(schedule));
    }),
    { numRuns: 200 },
  );
});
