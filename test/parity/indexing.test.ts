/** Gathers, scatters and generators against tfjs. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { input, runs, seeds, shapes, shapesOf } from './cases.js';
import { expectParity, type Input, runNative, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

const indices = (shape: number[], size: number, seed: number): Input =>
  input('indices', shape, 'int32', seed, { low: 0, high: size - 1 });
const RUNS = runs(40);

describe('indexing kernels', () => {
  test('GatherV2', () => {
    fc.assert(
      fc.property(shapesOf(3), shapes(2, 1), fc.nat(2), seeds, (shape, indexShape, axis, seed) => {
        const picks = indices(indexShape, shape[axis] as number, seed + 1);
        expectParity('GatherV2', [input('x', shape, 'float32', seed), picks], { axis, batchDims: 0 });
      }),
      RUNS,
    );
    for (const axis of [1, 2]) {
      const x = input('x', [3, 4, 5], 'float32', 1);
      expectParity('GatherV2', [x, indices([3, 6], x.shape[axis] as number, 2)], { axis, batchDims: 1 });
    }
  });

  test('an index outside is an error that names it', () => {
    const x = input('x', [3, 4], 'float32', 1);
    const bad: Input = { name: 'indices', shape: [2], dtype: 'int32', data: Int32Array.of(0, 3) };
    const type = [{ shape: [2, 4], dtype: 'float32' as const }];
    expect(() => runNative('GatherV2', [x, bad], { axis: 0, batchDims: 0 }, type)).toThrow(
      /index 3 is not in \[0, 3\)/,
    );
  });

  test('GatherNd', () => {
    fc.assert(
      fc.property(
        shapesOf(3),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        seeds,
        (shape, depth, rows, seed) => {
          const columns = shape.slice(0, depth).map((size, d) => indices([rows], size, seed + d).data);
          const flat = Int32Array.from(
            { length: rows * depth },
            (_, i) => columns[i % depth]?.[Math.floor(i / depth)] as number,
          );
          const picks: Input = { name: 'indices', shape: [rows, depth], dtype: 'int32', data: flat };
          expectParity('GatherNd', [input('params', shape, 'float32', seed), picks]);
        },
      ),
      RUNS,
    );
  });

  test('ScatterNd adds duplicates, TensorScatterUpdate keeps the last', () => {
    for (const seed of [1, 2, 3]) {
      const picks = indices([6, 1], 4, seed);
      const updates = input('updates', [6, 5], 'float32', seed);
      expectParity('ScatterNd', [picks, updates], { shape: [4, 5] });
      expectParity('TensorScatterUpdate', [input('tensor', [4, 5], 'float32', 9), picks, updates]);
      expectParity('ScatterNd', [indices([6, 2], 4, seed), input('updates', [6], 'int32', seed)], { shape: [4, 4] });
    }
  });

  test('UnsortedSegmentSum', () => {
    const ids = { ...input('segmentIds', [7], 'int32', 3, { low: -1, high: 4 }) };
    expectParity('UnsortedSegmentSum', [input('x', [7, 3, 2], 'float32', 1), ids], { numSegments: 4 });
    expectParity('UnsortedSegmentSum', [input('x', [7], 'float32', 2), ids], { numSegments: 6 });
  });

  test('OneHot', () => {
    fc.assert(
      fc.property(shapes(3, 1), fc.integer({ min: 1, max: 6 }), seeds, (shape, depth, seed) => {
        const picks = input('indices', shape, 'int32', seed, { low: -1, high: 6 });
        expectParity('OneHot', [picks], { dtype: 'float32', depth, onValue: 1, offValue: 0 });
        expectParity('OneHot', [picks], { dtype: 'int32', depth, onValue: 5, offValue: -1 });
      }),
      RUNS,
    );
  });

  test('Range, LinSpace, BroadcastArgs', () => {
    expectParity('Range', [], { start: 2, stop: 20, step: 3, dtype: 'int32' });
    expectParity('Range', [], { start: 1, stop: -3, step: -0.5, dtype: 'float32' });
    expectParity('Range', [], { start: 5, stop: 0, step: 1, dtype: 'float32' });
    expectParity('LinSpace', [], { start: -1, stop: 3, num: 17 });
    const shape = (name: string, ...dims: number[]): Input => ({
      name,
      shape: [dims.length],
      dtype: 'int32',
      data: Int32Array.from(dims),
    });
    expectParity('BroadcastArgs', [shape('s0', 4, 1, 3), shape('s1', 5, 1)]);
  });
});
