/** Histograms and calibrators against what the plain data says. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { calibrate } from '../../src/quantisation/calibrators.js';
import { EMPTY, merge, observe } from '../../src/quantisation/histogram.js';
import { roundToEven } from '../../src/quantisation/weights.js';

const numbers = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), {
  minLength: 1,
  maxLength: 200,
});

/** Normal numbers by sums of uniforms, and some far out. */
function bell(length: number, outlier = 0): Float32Array {
  let state = 7;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const values = Float32Array.from({ length }, () => Array.from({ length: 12 }, uniform).reduce((a, b) => a + b, -6));
  if (outlier > 0) values[0] = outlier;
  return values;
}

function squaredError(data: Float32Array, amax: number): number {
  const scale = amax / 127;
  return data.reduce((sum, x) => sum + (x - scale * Math.max(-127, Math.min(127, roundToEven(x / scale)))) ** 2, 0);
}

describe('histograms', () => {
  it('are the same for parts in any order as for the whole', () => {
    fc.assert(
      fc.property(numbers, numbers, numbers, (a, b, c) => {
        const whole = observe(EMPTY, [...a, ...b, ...c]);
        const inTurn = observe(observe(observe(EMPTY, c), a), b);
        const apart = merge(observe(EMPTY, b), merge(observe(EMPTY, c), observe(EMPTY, a)));
        expect(inTurn).toEqual(whole);
        expect(apart).toEqual(whole);
        expect(whole.counts.reduce((sum, count) => sum + count, 0)).toBe(a.length + b.length + c.length);
        expect(whole.maximum).toBe(Math.max(...[...a, ...b, ...c].map(Math.abs)));
      }),
    );
  });

  it('refuse what is not finite', () => {
    expect(() => observe(EMPTY, [1, Number.NaN])).toThrow('element 1 is NaN');
    expect(() => observe(EMPTY, [Number.POSITIVE_INFINITY])).toThrow(RangeError);
  });
});

describe('calibrators', () => {
  it('max is the largest magnitude', () => {
    fc.assert(
      fc.property(numbers, (data) => {
        const largest = Math.max(...data.map(Math.abs));
        expect(calibrate(observe(EMPTY, data), 'max')).toBe(largest === 0 ? 1 : largest);
      }),
    );
  });

  it('percentile leaves out what lies above it', () => {
    const data = bell(50000, 40);
    const sorted = Array.from(data, Math.abs).sort((a, b) => a - b);
    for (const percentile of [50, 90, 99, 99.9]) {
      const exact = sorted[Math.floor((percentile / 100) * sorted.length)]!;
      expect(Math.abs(calibrate(observe(EMPTY, data), 'percentile', percentile) - exact)).toBeLessThan(
        64 / 2048 + 0.01,
      );
    }
    expect(calibrate(observe(EMPTY, data), 'percentile', 100)).toBeCloseTo(40, 1);
  });

  it('mse is near the best of a fine search on the data itself', () => {
    for (const outlier of [0, 12, 60]) {
      const data = bell(5000, outlier);
      const chosen = squaredError(data, calibrate(observe(EMPTY, data), 'mse'));
      let least = Number.POSITIVE_INFINITY;
      for (let amax = 1; amax <= Math.max(6, outlier); amax += 0.05) least = Math.min(least, squaredError(data, amax));
      expect(chosen).toBeLessThan(1.1 * least);
    }
  });

  it('entropy cuts outliers off and keeps a range that is full', () => {
    const withOutlier = calibrate(observe(EMPTY, bell(50000, 64)), 'entropy');
    expect(withOutlier).toBeLessThan(10);
    expect(withOutlier).toBeGreaterThan(2);
    const even = Float32Array.from({ length: 50000 }, (_, i) => i / 50000);
    expect(calibrate(observe(EMPTY, even), 'entropy')).toBeGreaterThan(0.95);
  });

  it('never exceeds the largest magnitude, and is positive for zeros', () => {
    fc.assert(
      fc.property(numbers, fc.constantFrom('max', 'percentile', 'entropy', 'mse'), (data, calibrator) => {
        const histogram = observe(EMPTY, data);
        const amax = calibrate(histogram, calibrator);
        expect(amax).toBeGreaterThan(0);
        if (histogram.maximum > 0) expect(amax).toBeLessThanOrEqual(histogram.maximum);
      }),
    );
    expect(() => calibrate(EMPTY, 'percentile', 0)).toThrow(expect.objectContaining({ code: 'config/invalid' }));
  });
});
