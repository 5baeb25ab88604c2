/** Pooling, resizing, normalisation and dilation against tfjs; where tfjs's gradient is wrong, against finite differences. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { data, input, runs, seeds, sizeOf } from './cases.js';
import { expectParity, type Input, runNative, runReference, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

const LOOSE = { relative: 1e-5, absolute: 1e-5 };

const pools = fc.record({
  height: fc.integer({ min: 1, max: 7 }),
  width: fc.integer({ min: 1, max: 7 }),
  channels: fc.integer({ min: 1, max: 5 }),
  filterSize: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
  strides: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
  pad: fc.constantFrom<'same' | 'valid' | 1>('same', 'valid', 1),
  seed: seeds,
});

/** With explicit padding the filter is larger than it: tfjs takes some 1 x 1 pools for the identity whatever the stride. */
const fits = (height: number, width: number, filterSize: readonly number[], pad: unknown): boolean =>
  pad === 'same' ||
  (height >= (filterSize[0] as number) &&
    width >= (filterSize[1] as number) &&
    (pad !== 1 || Math.min(...filterSize) > 1));

describe('pooling', () => {
  test.each(['MaxPool', 'AvgPool'])('%s and its gradient', (kernel) => {
    fc.assert(
      fc.property(pools, ({ height, width, channels, filterSize, strides, pad, seed }) => {
        if (!fits(height, width, filterSize, pad)) return;
        const x = input('x', [2, height, width, channels], 'float32', seed);
        const attrs = { filterSize, strides, pad, ...(pad === 1 ? { dimRoundingMode: 'floor' } : {}) };
        expectParity(kernel, [x], attrs, { tolerance: LOOSE });
        const [y] = runReference(kernel, [x], attrs);
        if (y === undefined) return;
        const dy = input('dy', y.shape, 'float32', seed + 1);
        if (kernel === 'MaxPool') {
          const inputs = [dy, { ...x, name: 'input' }, { ...y, name: 'output' }];
          expectParity('MaxPoolGrad', inputs, attrs, { tolerance: LOOSE });
        } else {
          expectParity('AvgPoolGrad', [dy, { ...x, name: 'input' }], attrs, { tolerance: LOOSE });
        }
      }),
      runs(40),
    );
  });

  test.each(['int32', 'bool'] as const)('MaxPool of %s', (dtype) => {
    fc.assert(
      fc.property(pools, ({ height, width, channels, filterSize, strides, pad, seed }) => {
        if (!fits(height, width, filterSize, pad)) return;
        const x = input('x', [2, height, width, channels], dtype, seed, { low: -(2 ** 30), high: 2 ** 30 });
        const attrs = { filterSize, strides, pad, ...(pad === 1 ? { dimRoundingMode: 'floor' } : {}) };
        expectParity('MaxPool', [x], attrs);
      }),
      runs(40),
    );
  });

  test.each(['MaxPool3D', 'AvgPool3D'])('%s and its gradient', (kernel) => {
    for (const [pad, size] of [
      ['valid', 2],
      ['same', 3],
      ['same', 2],
    ] as const) {
      const x = input('x', [2, 4, 5, 6, 3], 'float32', size);
      const attrs = { filterSize: [size, size, size], strides: [2, 1, 2], pad, dataFormat: 'NDHWC' };
      expectParity(kernel, [x], attrs, { tolerance: LOOSE });
      const [y] = runReference(kernel, [x], attrs);
      if (y === undefined) continue;
      const dy = input('dy', y.shape, 'float32', 9);
      if (kernel === 'MaxPool3D') {
        expectParity('MaxPool3DGrad', [dy, { ...x, name: 'input' }, { ...y, name: 'output' }], attrs, {
          tolerance: LOOSE,
        });
      } else {
        expectParity('AvgPool3DGrad', [dy, { ...x, name: 'input' }], attrs, { tolerance: LOOSE });
      }
    }
  });
});

/** For a linear kernel f and its gradient g: sum(f(x) dy) = sum(x g(dy)). */
function expectTranspose(forward: string, x: Input, backward: string, inputName: string, attrs: object): void {
  const outputs = runReference(forward, [x], attrs);
  const y = outputs[0] as (typeof outputs)[0];
  const dy = input('dy', y.shape, 'float32', 77);
  const [dx] = runNative(backward, [dy, { ...x, name: inputName }], attrs, [x]);
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);
  expect(dot(y.data, dy.data)).toBeCloseTo(dot(x.data, dx as Float32Array), 3);
}

describe('resizing', () => {
  const cases = fc.tuple(
    fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
    fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    fc.constantFrom([false, false], [true, false], [false, true]),
    seeds,
  );

  test.each(['ResizeBilinear', 'ResizeNearestNeighbor'])('%s and its gradient', (kernel) => {
    fc.assert(
      fc.property(cases, ([from, to, [alignCorners, halfPixelCenters], seed]) => {
        const images = input('images', [2, ...from, 3], 'float32', seed);
        const attrs = { alignCorners, halfPixelCenters, size: to };
        expectParity(kernel, [images], attrs, { tolerance: LOOSE });
        expectTranspose(kernel, images, `${kernel}Grad`, 'images', attrs);
        // tfjs's gradients ignore half-pixel centres, swap height and width in the shape, and misplace all samples but the first.
        if (halfPixelCenters || from[0] !== from[1]) return;
        // From one pixel with aligned corners tfjs divides by a scale of 0 and never ends.
        if (alignCorners && from[0] === 1) return;
        const one = input('images', [1, ...from, 3], 'float32', seed);
        expectParity(`${kernel}Grad`, [one, input('dy', [1, ...to, 3], 'float32', seed + 1)], attrs, {
          tolerance: LOOSE,
        });
      }),
      runs(40),
    );
  });
});

describe('normalisation', () => {
  test('FusedBatchNorm', () => {
    for (const [shape, own] of [
      [[2, 3, 4, 5], [5]],
      [[2, 3, 4, 5], [1]],
      [[64, 7, 7, 3], [3]],
      [[300, 70], [70]],
      [[3, 1030], [1030]],
      [
        [2, 3, 4],
        [2, 3, 4],
      ],
    ] as const) {
      const x = input('x', shape, 'float32', 1);
      const positive = { low: 0.1, high: 2 };
      const required = [x, input('mean', own, 'float32', 2), input('variance', own, 'float32', 3, positive)];
      const scale = input('scale', own, 'float32', 4);
      const offset = input('offset', own, 'float32', 5);
      const attrs = { varianceEpsilon: 0.01 };
      expectParity('FusedBatchNorm', [...required, scale, offset], attrs, { tolerance: LOOSE });
      expectParity('FusedBatchNorm', required, attrs, { tolerance: LOOSE });
      expectParity('FusedBatchNorm', [...required, offset], attrs, { tolerance: LOOSE });
    }
  });

  test('LRN and its gradient', () => {
    for (const depthRadius of [0, 1, 2, 9]) {
      const attrs = { depthRadius, bias: 1.5, alpha: 0.3, beta: 0.75 };
      const x = input('x', [2, 3, 2, 7], 'float32', depthRadius);
      expectParity('LRN', [x], attrs, { tolerance: LOOSE });
      const outputs = runReference('LRN', [x], attrs);
      const y = outputs[0] as (typeof outputs)[0];
      expectParity('LRNGrad', [x, { ...y, name: 'y' }, input('dy', x.shape, 'float32', 9)], attrs, {
        tolerance: LOOSE,
      });
    }
  });
});

test('Dilation2D and its gradients', () => {
  for (const [strides, pad, dilations] of [
    [1, 'same', 1],
    [2, 'valid', 1],
    [1, 'same', 2],
    [[1, 2], 'valid', [2, 1]],
  ] as const) {
    const attrs = { strides, pad, dilations };
    const x = input('x', [2, 6, 7, 3], 'float32', 1);
    const filter = input('filter', [2, 3, 3], 'float32', 2);
    expectParity('Dilation2D', [x, filter], attrs);
    const outputs = runReference('Dilation2D', [x, filter], attrs);
    const y = outputs[0] as (typeof outputs)[0];
    // tfjs asks dy for its rank, which tensors have.
    const dy: Input = { name: 'dy', shape: y.shape, dtype: 'float32', data: data('float32', sizeOf(y.shape), 3) };
    expectParity('Dilation2DBackpropInput', [x, filter, dy], attrs, { tolerance: LOOSE });
    expectParity('Dilation2DBackpropFilter', [x, filter, dy], attrs, { tolerance: LOOSE });
  }
});
