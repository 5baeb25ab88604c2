/** Kernels that only move elements, against tfjs: results must be equal bit for bit. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { DType } from '../../src/graph/graph.js';
import { broadcastable, data, input, runs, seeds, shapes, shapesOf, sizeOf } from './cases.js';
import { expectParity, type Input, runNative, runReference, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

const dtypes = fc.constantFrom<DType>('float32', 'int32', 'bool');
const permutations = (rank: number) =>
  fc.shuffledSubarray([...Array(rank).keys()], { minLength: rank, maxLength: rank });
/** False where tfjs itself throws: it does on some slices without elements. */
function referenceRuns(kernel: string, inputs: Input[], attrs: object): boolean {
  try {
    runReference(kernel, inputs, attrs);
    return true;
  } catch {
    return false;
  }
}

const RUNS = runs(40);

describe('movement kernels', () => {
  test('Transpose', () => {
    fc.assert(
      fc.property(
        shapes(6).chain((shape) => fc.tuple(fc.constant(shape), permutations(shape.length))),
        dtypes,
        seeds,
        ([shape, perm], dtype, seed) => expectParity('Transpose', [input('x', shape, dtype, seed)], { perm }),
      ),
      RUNS,
    );
  });

  test.each([
    [
      [130, 70],
      [1, 0],
    ],
    [
      [33, 17, 5],
      [2, 1, 0],
    ],
    [
      [4, 65, 3, 32],
      [0, 2, 1, 3],
    ],
    [
      [4, 65, 3, 32],
      [0, 2, 3, 1],
    ],
    [
      [3, 20, 50],
      [0, 2, 1],
    ],
    [
      [200, 1, 100],
      [2, 1, 0],
    ],
  ])('Transpose of %j by %j', (shape, perm) => {
    for (const dtype of ['float32', 'bool'] as const)
      expectParity('Transpose', [input('x', shape, dtype, 1)], { perm });
  });

  test('Reshape, ExpandDims', () => {
    expectParity('Reshape', [input('x', [4, 6], 'float32', 1)], { shape: [3, 8] });
    expectParity('ExpandDims', [input('input', [4, 6], 'int32', 1)], { dim: 1 });
    expectParity('Reshape', [input('x', [0, 6], 'float32', 1)], { shape: [2, 0] });
  });

  test('Slice', () => {
    fc.assert(
      fc.property(
        // tfjs gives a slice of a scalar no elements.
        shapes(5)
          .filter((shape) => shape.length > 0)
          .chain((shape) =>
            fc.tuple(
              fc.constant(shape),
              fc.tuple(
                ...shape.map((size) =>
                  fc
                    .integer({ min: 0, max: size })
                    .chain((begin) => fc.tuple(fc.constant(begin), fc.integer({ min: 0, max: size - begin }))),
                ),
              ),
            ),
          ),
        dtypes,
        seeds,
        ([shape, ranges], dtype, seed) => {
          const attrs = { begin: ranges.map(([begin]) => begin), size: ranges.map(([, size]) => size) };
          expectParity('Slice', [input('x', shape, dtype, seed)], attrs);
        },
      ),
      RUNS,
    );
  });

  test('StridedSlice', () => {
    const index = fc.integer({ min: -6, max: 6 });
    fc.assert(
      fc.property(
        shapesOf(3),
        fc.array(fc.tuple(index, index, fc.constantFrom(1, 2, 3, -1, -2)), { minLength: 3, maxLength: 3 }),
        fc.nat(7),
        fc.nat(7),
        seeds,
        (shape, ranges, beginMask, endMask, seed) => {
          const attrs = {
            begin: ranges.map(([begin]) => begin),
            end: ranges.map(([, end]) => end),
            strides: ranges.map(([, , stride]) => stride),
            beginMask,
            endMask,
            ellipsisMask: 0,
            newAxisMask: 0,
            shrinkAxisMask: 0,
          };
          const x = [input('x', shape, 'float32', seed)];
          fc.pre(referenceRuns('StridedSlice', x, attrs));
          expectParity('StridedSlice', x, attrs);
        },
      ),
      runs(100),
    );
    const masks = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };
    const x = input('x', [4, 5, 6], 'float32', 1);
    expectParity('StridedSlice', [x], { ...masks, begin: [1, 0], end: [3, 2], strides: [1, 1] });
    // tfjs's CPU backend fails on these, so the elements are picked by hand.
    const at = (i: number, j: number, k: number) => x.data[(i * 5 + j) * 6 + k] as number;
    const picked = (attrs: object, shape: number[]) =>
      Array.from(
        runNative('StridedSlice', [x], { ...masks, ...attrs }, [{ shape, dtype: 'float32' }])[0] as Float32Array,
      );
    const rows = [0, 1, 2, 3, 4];
    // x[-2, ..., 1:4:2]
    expect(
      picked({ begin: [-2, 0, 1], end: [0, 0, 4], strides: [1, 1, 2], shrinkAxisMask: 1, ellipsisMask: 2 }, [5, 2]),
    ).toEqual(rows.flatMap((j) => [at(2, j, 1), at(2, j, 3)]));
    // x[newaxis, 0:4:2, 1:3, 2]
    expect(
      picked(
        { begin: [0, 0, 1, 2], end: [0, 4, 3, 0], strides: [1, 2, 1, 1], newAxisMask: 1, shrinkAxisMask: 8 },
        [1, 2, 2],
      ),
    ).toEqual([at(0, 1, 2), at(0, 2, 2), at(2, 1, 2), at(2, 2, 2)]);
  });

  test('Reverse', () => {
    fc.assert(
      fc.property(
        shapes(4).chain((shape) => fc.tuple(fc.constant(shape), fc.subarray(shape.map((_, dim) => dim)))),
        seeds,
        ([shape, dims], seed) => expectParity('Reverse', [input('x', shape, 'float32', seed)], { dims }),
      ),
      RUNS,
    );
  });

  test('Tile', () => {
    fc.assert(
      fc.property(
        shapes(4, 1).chain((shape) =>
          fc.tuple(
            fc.constant(shape),
            fc.array(fc.integer({ min: 1, max: 3 }), { minLength: shape.length, maxLength: shape.length }),
          ),
        ),
        dtypes,
        seeds,
        ([shape, reps], dtype, seed) => expectParity('Tile', [input('x', shape, dtype, seed)], { reps }),
      ),
      RUNS,
    );
  });

  test('BroadcastTo repeats along dims of size 1', () => {
    fc.assert(
      fc.property(
        shapes(5).chain((target) => fc.tuple(fc.constant(target), broadcastable(target))),
        seeds,
        ([target, shape], seed) => {
          const x = input('x', shape, 'float32', seed);
          const [result] = runNative('BroadcastTo', [x], { shape: target }, [{ shape: target, dtype: 'float32' }]);
          // x + 0 broadcast: Add is compared with tfjs elsewhere.
          const zeros = { name: 'b', shape: target, dtype: 'float32' as const, data: new Float32Array(sizeOf(target)) };
          const [sum] = runNative('Add', [{ ...x, name: 'a' }, zeros], {}, [{ shape: target, dtype: 'float32' }]);
          expect(result).toEqual(sum);
        },
      ),
      RUNS,
    );
  });

  test('Concat, Pack', () => {
    fc.assert(
      fc.property(
        shapes(4, 1),
        fc.nat(),
        fc.array(fc.nat(4), { minLength: 2, maxLength: 4 }),
        dtypes,
        seeds,
        (shape, pick, sizes, dtype, seed) => {
          const axis = pick % (shape.length + 1);
          const same = sizes.map((_, index) => input(`${index}`, shape, dtype, seed + index));
          expectParity('Pack', same, { axis }, { asList: true });
          if (shape.length === 0) return;
          const along = pick % shape.length;
          const pieces = sizes.map((size, index) =>
            input(
              `${index}`,
              shape.map((dim, d) => (d === along ? size : dim)),
              dtype,
              seed + index,
            ),
          );
          if (sizes.some((size) => size > 0)) expectParity('Concat', pieces, { axis: along }, { asList: true });
        },
      ),
      RUNS,
    );
  });

  test('SplitV, Unpack', () => {
    fc.assert(
      fc.property(shapes(4, 1), fc.nat(), fc.nat(5), dtypes, seeds, (shape, pick, first, dtype, seed) => {
        if (shape.length === 0) return;
        const axis = pick % shape.length;
        const size = shape[axis] as number;
        const x = input('x', shape, dtype, seed);
        expectParity('Unpack', [{ ...x, name: 'value' }], { axis });
        const head = Math.min(first, size);
        expectParity('SplitV', [x], { numOrSizeSplits: [head, size - head], axis });
      }),
      RUNS,
    );
  });

  test('PadV2, MirrorPad', () => {
    const pads = (shape: number[], max: (size: number) => number) =>
      fc.tuple(...shape.map((size) => fc.tuple(fc.nat(max(size)), fc.nat(max(size)))));
    fc.assert(
      fc.property(
        shapes(4).chain((shape) =>
          fc.tuple(
            fc.constant(shape),
            pads(shape, () => 3),
          ),
        ),
        fc.constantFrom(0, 1, -2.5),
        seeds,
        ([shape, paddings], constantValue, seed) =>
          expectParity('PadV2', [input('x', shape, 'float32', seed)], { paddings, constantValue }),
      ),
      RUNS,
    );
    for (const [mode, less] of [
      ['reflect', 1],
      ['symmetric', 0],
    ] as const) {
      fc.assert(
        fc.property(
          shapes(3, 1).chain((shape) =>
            fc.tuple(
              fc.constant(shape),
              pads(shape, (size) => size - less),
            ),
          ),
          seeds,
          ([shape, paddings], seed) =>
            expectParity('MirrorPad', [input('x', shape, 'float32', seed)], { paddings, mode }),
        ),
        runs(20),
      );
    }
  });

  test('SpaceToBatchND and back', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
        fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
        fc.tuple(fc.nat(2), fc.nat(2)),
        seeds,
        (block, coarse, before, seed) => {
          const paddings = [0, 1].map((d) => {
            const total = (coarse[d] as number) * (block[d] as number);
            const front = Math.min(before[d] as number, total - 1);
            return [front, Math.min(total - 1 - front, 1)];
          });
          const spatial = [0, 1].map(
            (d) => (coarse[d] as number) * (block[d] as number) - (paddings[d] as number[]).reduce((a, b) => a + b),
          );
          expectParity('SpaceToBatchND', [input('x', [2, ...spatial, 3], 'float32', seed)], {
            blockShape: block,
            paddings,
          });
          const batch = 2 * block[0] * block[1];
          expectParity('BatchToSpaceND', [input('x', [batch, ...coarse, 3], 'float32', seed)], {
            blockShape: block,
            crops: paddings,
          });
        },
      ),
      RUNS,
    );
  });

  test('DepthToSpace', () => {
    expectParity('DepthToSpace', [input('x', [2, 3, 5, 12], 'float32', 1)], { blockSize: 2, dataFormat: 'NHWC' });
    expectParity('DepthToSpace', [input('x', [1, 2, 2, 9], 'float32', 1)], { blockSize: 3, dataFormat: 'NHWC' });
  });

  test('a slice that leaves the tensor is refused', () => {
    const x = { name: 'x', shape: [4], dtype: 'float32' as const, data: data('float32', 4, 1) };
    expect(() => runNative('Slice', [x], { begin: [2], size: [3] }, [{ shape: [3], dtype: 'float32' }])).toThrow(
      /leaves/,
    );
  });
});
