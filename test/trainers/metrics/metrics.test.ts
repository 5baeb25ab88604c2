/** Metrics against definitions written out by hand. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { metrics } from '../../../src/index.js';

describe('spearman', () => {
  it('is Pearson of mean ranks', () => {
    const small = fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 })), { minLength: 3 });
    const meanRank = (values: number[]) =>
      values.map((x) => {
        const below = values.filter((y) => y < x).length;
        const equal = values.filter((y) => y === x).length;
        return below + (equal + 1) / 2;
      });
    const pearson = (a: number[], b: number[]) => {
      const mean = (x: number[]) => x.reduce((sum, y) => sum + y, 0) / x.length;
      const [ma, mb] = [mean(a), mean(b)];
      const dot = (f: (i: number) => number) => a.reduce((sum, _, i) => sum + f(i), 0);
      return (
        dot((i) => (a[i]! - ma) * (b[i]! - mb)) /
        Math.sqrt(dot((i) => (a[i]! - ma) ** 2) * dot((i) => (b[i]! - mb) ** 2))
      );
    };
    fc.assert(
      fc.property(small, (pairs) => {
        const a = pairs.map(([x]) => x);
        const b = pairs.map(([, y]) => y);
        const expected = pearson(meanRank(a), meanRank(b));
        const received = metrics.spearman(a, b);
        if (Number.isNaN(expected)) expect(received).toBeNaN();
        else expect(received).toBeCloseTo(expected, 10);
      }),
    );
  });

  it('refuses lists of different lengths', () => {
    expect(() => metrics.spearman([1, 2], [1])).toThrow(expect.objectContaining({ code: 'config/invalid' }));
    expect(() => metrics.accuracy([], [])).toThrow(expect.objectContaining({ code: 'config/invalid' }));
  });
});

it('auc is the share of pairs in order', () => {
  const scored = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.boolean()), { minLength: 1 });
  fc.assert(
    fc.property(scored, (pairs) => {
      const positive = pairs.filter(([, label]) => label).map(([score]) => score);
      const negative = pairs.filter(([, label]) => !label).map(([score]) => score);
      const won = positive.flatMap((p) => negative.map((n): number => (p > n ? 1 : p === n ? 0.5 : 0)));
      const expected = won.reduce((sum, one) => sum + one, 0) / won.length;
      const received = metrics.auc(
        pairs.map(([score]) => score),
        pairs.map(([, label]) => label),
      );
      if (won.length === 0) expect(received).toBeNaN();
      else expect(received).toBeCloseTo(expected, 12);
    }),
  );
});

it('f1, macro F1, set F1 and accuracy of a confusion counted by hand', () => {
  const targets = ['a', 'a', 'a', 'b', 'b', 'c'];
  const predictions = ['a', 'a', 'b', 'b', 'a', 'a'];
  expect(metrics.accuracy(predictions, targets)).toBe(0.5);
  // a: 2 of 4 predicted, 2 of 3 found; b: 1 of 2, 1 of 2; c: never predicted.
  expect(metrics.f1(predictions, targets, 'a')).toEqual({ precision: 0.5, recall: 2 / 3, f1: 4 / 7, support: 3 });
  expect(metrics.f1(predictions, targets, 'c')).toEqual({ precision: 0, recall: 0, f1: 0, support: 1 });
  expect(metrics.macroF1(predictions, targets)).toBeCloseTo((4 / 7 + 1 / 2 + 0) / 3, 12);
  expect(metrics.setF1(['x', 'y'], ['y', 'z', 'w'])).toEqual({ precision: 1 / 2, recall: 1 / 3, f1: 2 / 5 });
});

describe('rougeL', () => {
  it('is F1 of the longest common subsequence', () => {
    const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 8 });
    const isSubsequence = (part: string[], whole: string[]) => {
      let at = 0;
      for (const letter of whole) if (letter === part[at]) at++;
      return at === part.length;
    };
    const longest = (a: string[], b: string[]) => {
      let best = 0;
      for (let bits = 0; bits < 1 << a.length; bits++) {
        const part = a.filter((_, i) => bits & (1 << i));
        if (part.length > best && isSubsequence(part, b)) best = part.length;
      }
      return best;
    };
    fc.assert(
      fc.property(letters, letters, (a, b) => {
        const common = longest(a, b);
        const expected = (2 * common) / (a.length + b.length);
        expect(metrics.rougeL(a.join(' '), b.join(' '))).toBeCloseTo(expected, 12);
        expect(metrics.rougeL(a.join(''), b.join(''), 'character')).toBeCloseTo(expected, 12);
      }),
      { numRuns: 40 },
    );
  });

  it('counts sentences, capitals and Chinese as they stand', () => {
    expect(metrics.rougeL('It is. So.', 'it is. So.')).toBeCloseTo(2 / 3, 12);
    expect(metrics.rougeL('果蔬 保鲜', '果蔬保鲜技术', 'character')).toBeCloseTo(8 / 10, 12);
    expect(metrics.rougeL('', 'x')).toBe(0);
    expect(metrics.meanRougeL(['a', 'b'], ['a', 'c'])).toBe(0.5);
  });
});
