/** Reductions and scans against tfjs. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { input, runs, seeds, shapes, sizeOf } from './cases.js';
import { expectParity, runNative, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

/** A shape and a choice of its dims, some named from the end. */
const shapesWithAxes = (min: number) =>
  shapes(5, min).chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc
        .tuple(fc.subarray(shape.map((_, dim) => dim)), fc.boolean())
        .map(([axes, negative]) => (negative ? axes.map((axis) => axis - shape.length) : axes)),
      fc.boolean(),
      seeds,
    ),
  );

const LOOSE = { relative: 1e-5, absolute: 2e-5 };

describe('reductions', () => {
  test.each([
    ['Sum', 'axis', 0],
    ['Mean', 'axis', 1],
    ['Max', 'reductionIndices', 1],
    ['Min', 'axis', 1],
    ['Prod', 'axis', 0],
  ] as const)('%s', (kernel, name, min) => {
    fc.assert(
      fc.property(shapesWithAxes(min), ([shape, axes, keepDims, seed]) => {
        // tfjs mistakes axes that are not sorted; sets of dims have no order.
        expectParity(kernel, [input('x', shape, 'float32', seed)], { [name]: axes, keepDims }, { tolerance: LOOSE });
      }),
      runs(60),
    );
    if (kernel !== 'Mean') {
      expectParity(kernel, [input('x', [3, 4, 5], 'int32', 3, { low: 1, high: 4 })], {
        [name]: [0, 2],
        keepDims: false,
      });
    }
  });

  test.each(['Max', 'Min', 'Sum'])('%s of NaN and infinities', (kernel) => {
    for (const seed of [1, 2, 3, 4]) {
      const name = kernel === 'Max' ? 'reductionIndices' : 'axis';
      expectParity(kernel, [input('x', [6, 9], 'float32', seed, { awkward: true })], { [name]: [1], keepDims: false });
      expectParity(kernel, [input('x', [6, 9], 'float32', seed, { awkward: true })], { [name]: [0], keepDims: false });
    }
  });

  test.each(['All', 'Any'])('%s', (kernel) => {
    for (const axis of [[0], [1], [0, 2], [0, 1, 2]])
      expectParity(kernel, [input('x', [2, 3, 2], 'bool', 5)], { axis, keepDims: false });
  });

  test('Sum of bool counts, Mean of int32 is float', () => {
    expectParity('Sum', [input('x', [9, 5], 'bool', 1)], { axis: [0], keepDims: false });
    expectParity('Mean', [input('x', [9, 5], 'int32', 1)], { axis: [1], keepDims: true }, { tolerance: LOOSE });
  });

  test.each([
    [[100003], [0]],
    [[300, 700], [0]],
    [[300, 700], [1]],
    [
      [7, 90, 11, 30],
      [1, 3],
    ],
    [
      [7, 90, 11, 30],
      [0, 2],
    ],
    [[3, 20000], [1]],
  ])('large %j over %j', (shape, axes) => {
    const x = input('x', shape, 'float32', 7);
    for (const kernel of ['Sum', 'Mean'])
      expectParity(kernel, [x], { axis: axes, keepDims: false }, { tolerance: { relative: 1e-5, absolute: 2e-3 } });
    expectParity('Max', [x], { reductionIndices: axes, keepDims: false });
  });

  test('a sum has the same bits whatever the number of threads, and is accurate', () => {
    const shape = [200001];
    const x = input('x', shape, 'float32', 8, { low: 0, high: 1 });
    const exact = (x.data as Float32Array).reduce((total, value) => total + value, 0);
    const sums = [1, 2].map((numThreads) => {
      loadAddon().setThreads(numThreads);
      return runNative('Sum', [x], { axis: [0], keepDims: false }, [{ shape: [], dtype: 'float32' }])[0]?.[0] as number;
    });
    expect(sums[0]).toBe(sums[1]);
    expect(Math.abs((sums[0] as number) - exact) / exact).toBeLessThan(1e-7);
  });

  test.each(['ArgMax', 'ArgMin'])('%s', (kernel) => {
    fc.assert(
      fc.property(shapes(4, 1), fc.nat(), seeds, fc.boolean(), (shape, pick, seed, awkward) => {
        if (shape.length === 0) return;
        const x = input('x', shape, 'float32', seed, { awkward });
        // Rounded, so that equal values occur.
        expectParity(kernel, [{ ...x, data: Float32Array.from(x.data, Math.round) }], { axis: pick % shape.length });
      }),
      runs(40),
    );
  });

  test.each(['Cumsum', 'Cumprod'])('%s', (kernel) => {
    fc.assert(
      fc.property(
        shapes(4, 1),
        fc.nat(),
        seeds,
        fc.boolean(),
        fc.boolean(),
        (shape, pick, seed, exclusive, reverse) => {
          if (shape.length === 0) return;
          const attrs = { axis: pick % shape.length, exclusive, reverse };
          expectParity(kernel, [input('x', shape, 'float32', seed)], attrs, { tolerance: LOOSE });
          expectParity(kernel, [input('x', shape, 'int32', seed)], attrs);
        },
      ),
      runs(30),
    );
  });

  test('TopK', () => {
    fc.assert(
      fc.property(shapes(3, 1), fc.nat(), seeds, (shape, pick, seed) => {
        if (shape.length === 0) return;
        const x = input('x', shape, 'float32', seed);
        const k = 1 + (pick % (shape.at(-1) as number));
        expectParity('TopK', [{ ...x, data: Float32Array.from(x.data, Math.round) }], { k, sorted: true });
      }),
      runs(30),
    );
  });

  test('Softmax', () => {
    for (const shape of [[7], [3, 5], [2, 3, 257], [50, 300]]) {
      for (const scale of [1, 50]) {
        const x = input('logits', shape, 'float32', sizeOf(shape), { low: -scale, high: scale });
        expectParity('Softmax', [x], { dim: -1 }, { tolerance: { relative: 5e-6, absolute: 1e-9 } });
      }
    }
    const masked = input('logits', [2, 4], 'float32', 1);
    masked.data.set([-1e9, -Infinity], 1);
    masked.data.set([Number.NaN], 5);
    expectParity('Softmax', [masked], { dim: -1 });
  });

  test('LogSoftmax is the logarithm of Softmax', () => {
    const x = input('logits', [4, 9], 'float32', 1);
    const type = [{ shape: [4, 9], dtype: 'float32' as const }];
    const soft = runNative('Softmax', [x], { dim: -1 }, type)[0] as Float32Array;
    const log = runNative('LogSoftmax', [x], { axis: -1 }, type)[0] as Float32Array;
    for (const [i, value] of soft.entries()) expect(log[i]).toBeCloseTo(Math.log(value), 5);
  });
});
