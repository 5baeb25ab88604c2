/** The allocation rule on hand-made measurements, and its laws on drawn ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Candidate, recommend } from '../../src/quantisation/allocate.js';

const at = (mode: 'ffn' | 'full', numLayers: number, metric: number, latencySeconds: number): Candidate => ({
  mode,
  numLayers,
  metric,
  latencySeconds,
});

const measured: Candidate[] = [
  at('ffn', 0, 0.708, 10),
  at('ffn', 1, 0.708, 9),
  at('ffn', 2, 0.706, 8),
  at('ffn', 3, 0.7, 7),
  at('full', 1, 0.708, 8.5),
  at('full', 2, 0.704, 7),
  at('full', 3, 0.69, 5.5),
];

describe('recommend', () => {
  it('takes the fastest above a floor and the best below a ceiling', () => {
    expect(recommend(measured, { minMetric: 0.7, decayThreshold: 1 })).toBe(measured[5]);
    expect(recommend(measured, { minMetric: 0.7075, decayThreshold: 1 })).toBe(measured[4]);
    expect(recommend(measured, { maxLatency: 8, decayThreshold: 1 })).toBe(measured[2]);
    expect(recommend(measured, { maxLatency: 8, minMetric: 0.7, decayThreshold: 1 })).toBe(measured[5]);
  });

  it('without a requirement stops before the step that costs too much', () => {
    // Per unit of relative speed-up: ffn 0, 0.02, 0.06; full 0, 0.027, 0.093.
    expect(recommend(measured, { decayThreshold: 0.005 })).toBe(measured[4]);
    expect(recommend(measured, { decayThreshold: 0.03 })).toBe(measured[5]);
    expect(recommend(measured, { decayThreshold: 1 })).toBe(measured[6]);
  });

  it('does not stop for a loss within the error of the difference from float', () => {
    const lost = [0.674, 0.676, 0.676, 0.675, 0.673].map((metric, k) => at('full', k, metric, 10 - k));
    expect(recommend(lost, { decayThreshold: 0.005 })).toBe(lost[2]);
    const known = lost.map((one) => ({ ...one, metricError: 0.002 }));
    expect(recommend(known, { decayThreshold: 0.005 })).toBe(known[4]);
    const certain = known.map((one) => ({ ...one, metricError: 0.0005 }));
    expect(recommend(certain, { decayThreshold: 0.005 })).toBe(certain[3]);
  });

  it('stays in float where int8 is slower', () => {
    const slow = [at('ffn', 0, 0.7, 1), at('ffn', 1, 0.71, 1.2), at('full', 1, 0.71, 1.5)];
    expect(recommend(slow, { decayThreshold: 1 })).toBe(slow[0]);
  });

  it('says what is nearest when nothing fits', () => {
    expect(() => recommend(measured, { minMetric: 0.9, decayThreshold: 1 })).toThrow(/nearest: metric 0.708/);
    expect(() => recommend(measured, { maxLatency: 1, decayThreshold: 1 })).toThrow(/nearest: metric 0.69/);
  });

  it('keeps every requirement it was given, and nothing that keeps it is better', () => {
    const drawn = fc.array(
      fc.record({
        mode: fc.constantFrom('ffn' as const, 'full' as const),
        numLayers: fc.integer({ min: 1, max: 6 }),
        metric: fc.double({ min: 0, max: 1, noNaN: true }),
        latencySeconds: fc.double({ min: 0.1, max: 1, noNaN: true }),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(drawn, fc.double({ min: 0, max: 0.5, noNaN: true }), (others, minMetric) => {
        const candidates = [at('ffn', 0, 0.5, 0.9), ...others];
        const chosen = recommend(candidates, { minMetric, decayThreshold: 0 });
        expect(chosen.metric).toBeGreaterThanOrEqual(minMetric);
        const fastest = Math.min(
          ...candidates.filter(({ metric }) => metric >= minMetric).map((one) => one.latencySeconds),
        );
        expect(chosen.latencySeconds).toBeLessThanOrEqual(fastest * 1.0101 ** candidates.length);
        const best = recommend(candidates, { maxLatency: 0.95, decayThreshold: 0 });
        expect(best.metric).toBe(
          Math.max(...candidates.filter((one) => one.latencySeconds <= 0.95).map(({ metric }) => metric)),
        );
      }),
    );
  });
});
