/** Reductions, scans, sorts and softmaxes through merak.jit: negative and absent axes, keepDims, empty dims, int32 and bool. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { jit } from '../../../src/index.js';
import { type DType, dtypes, shapes, tensors, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

type Reduction = (x: tf.Tensor, axes: number[] | undefined, keepDims: boolean) => tf.Tensor;

const REDUCTIONS: Record<string, Reduction> = {
  sum: tf.sum, mean: tf.mean, max: tf.max, min: tf.min, logSumExp: tf.logSumExp,
}; // biome-ignore format: a table

interface Case {
  readonly drawn: { shape: number[]; dtype: DType; values: number[] };
  readonly axes: number[] | undefined;
  readonly keepDims: boolean;
}

/** Axes from both ends of a tensor's dims, or none. */
const cases = (dtype: fc.Arbitrary<DType>, min: number, awkward = false): fc.Arbitrary<Case> =>
  tensors(shapes(6, { min, max: 3 }), dtype, { awkward }).chain((drawn) => {
    const rank = drawn.shape.length;
    const some = fc
      .subarray([...Array(rank).keys()], { minLength: Math.min(1, rank) })
      .chain((dims) => fc.tuple(...dims.map((dim) => fc.constantFrom(dim, dim - rank))))
      .map((axes) => (axes.length === 0 ? undefined : [...axes]));
    return fc.record({ drawn: fc.constant(drawn), axes: fc.option(some, { nil: undefined }), keepDims: fc.boolean() });
  });

const run = (reduce: Reduction) => (one: Case) =>
  withTensors([one.drawn] as const, (x) =>
    expectParity((t: tf.Tensor) => reduce(t, one.axes, one.keepDims), [x], { relative: 1e-5, absolute: 1e-5 }),
  );

describe('reductions', () => {
  test.each(['sum', 'mean', 'logSumExp'])('%s', (name) => forAll(cases(dtypes, 0), run(REDUCTIONS[name]!)));
  test.each(['max', 'min'])('%s', (name) => forAll(cases(dtypes, 1, true), run(REDUCTIONS[name]!)));
  test('prod', () => forAll(cases(dtypes, 0), run(tf.prod)));
  test.each(Object.entries({ all: tf.all, any: tf.any }))('%s', (_, reduce) =>
    forAll(cases(fc.constant('bool' as const), 0), run(reduce)),
  );
  test('norm and moments', () =>
    forAll(
      cases(fc.constant('float32' as const), 1),
      run((x, axes, keepDims) => {
        const { mean, variance } = tf.moments(x, axes, keepDims);
        return tf.add(tf.norm(x, 'euclidean', axes, keepDims), tf.add(mean, variance));
      }),
    ));
});

/** One axis of a tensor of rank 1 to 5. */
const alongAxis = (dtype: fc.Arbitrary<DType>, min = 1, awkward = false) =>
  tensors(shapes(5, { min, max: 4, minRank: 1 }), dtype, { awkward }).chain((drawn) =>
    fc.record({
      drawn: fc.constant(drawn),
      axis: fc.integer({ min: -drawn.shape.length, max: drawn.shape.length - 1 }),
      flag: fc.boolean(),
      other: fc.boolean(),
    }),
  );

describe('along an axis', () => {
  test.each(Object.entries({ argMax: tf.argMax, argMin: tf.argMin }))('%s', (_, pick) =>
    forAll(alongAxis(dtypes), ({ drawn, axis }) =>
      withTensors([drawn] as const, (x) => expectParity((t: tf.Tensor) => pick(t, axis), [x])),
    ),
  );

  test.each(Object.entries({ cumsum: tf.cumsum, cumprod: tf.cumprod }))('%s', (_, scan) =>
    forAll(alongAxis(fc.constantFrom('float32' as const, 'int32' as const)), ({ drawn, axis, flag, other }) =>
      withTensors([drawn] as const, (x) => {
        // tfjs gives a result of undefined size for a negative axis.
        const dim = axis < 0 ? axis + x.rank : axis;
        return expectParity((t: tf.Tensor) => scan(t, dim, flag, other), [x]);
      }),
    ),
  );

  test('cumsum counts negative axes from the end', () =>
    withTensors([{ shape: [2, 3], dtype: 'float32', values: [1, 2, 3, 4, 5, 6] }] as const, async (x) => {
      const f = jit((t: tf.Tensor) => tf.cumsum(t, -2));
      const y = await f(x);
      expect(y.arraySync()).toEqual([
        [1, 2, 3],
        [5, 7, 9],
      ]);
      f.dispose();
    }));

  test('softmax, logSoftmax', () =>
    forAll(alongAxis(fc.constant('float32' as const)), ({ drawn }) =>
      withTensors([drawn] as const, (x) =>
        expectParity((t: tf.Tensor) => [tf.softmax(t), tf.logSoftmax(t)], [x], { relative: 1e-5, absolute: 1e-5 }),
      ),
    ));

  test('reverse', () =>
    forAll(alongAxis(dtypes, 0), ({ drawn, axis }) =>
      withTensors([drawn] as const, (x) => expectParity((t: tf.Tensor) => tf.reverse(t, axis), [x])),
    ));
});

test('topk', () =>
  forAll(
    tensors(shapes(4, { min: 1, max: 5, minRank: 1 }), fc.constantFrom<DType>('float32', 'int32')).chain((drawn) =>
      fc.tuple(fc.constant(drawn), fc.integer({ min: 0, max: drawn.shape.at(-1) ?? 1 })),
    ),
    ([drawn, k]) => withTensors([drawn] as const, (x) => expectParity((t: tf.Tensor) => ({ ...tf.topk(t, k) }), [x])),
  ));

test('bincount and denseBincount', () =>
  forAll(
    fc
      .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 7 }), fc.boolean())
      .chain(([n, size, weighted]) =>
        fc.tuple(
          valuesOf([n], 'int32', { low: 0, high: 8 }),
          valuesOf([weighted ? n : 0], 'float32'),
          valuesOf([2, n], 'int32', { low: 0, high: 8 }),
          valuesOf(weighted ? [2, n] : [0, 0], 'float32'),
          fc.constant(size),
          fc.boolean(),
        ),
      ),
    ([x, w, rows, rowWeights, size, binary]) =>
      withTensors([x, w, rows, rowWeights] as const, (a, b, c, d) =>
        expectParity(
          (x1, w1, x2, w2) => [
            tf.bincount(x1 as tf.Tensor1D, w1 as tf.Tensor1D, size),
            tf.denseBincount(x2 as tf.Tensor2D, w2 as tf.Tensor2D, size, binary),
          ],
          [a, b, c, d] as const,
        ),
      ),
  ));

test('searchSorted on sorted and unsorted rows', () =>
  forAll(
    fc
      .tuple(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 5 }),
        fc.boolean(),
      )
      .chain(([rows, n, m, sorts]) =>
        fc.tuple(
          valuesOf([rows, n], 'float32', { low: -2, high: 2, awkward: true }).map((drawn) =>
            sorts
              ? {
                  ...drawn,
                  values: Array.from({ length: rows }, (_, r) =>
                    drawn.values.slice(r * n, r * n + n).sort((a, b) => a - b),
                  ).flat(),
                }
              : drawn,
          ),
          valuesOf([rows, m], 'float32', { low: -2, high: 2, awkward: true }),
          fc.constantFrom('left' as const, 'right' as const),
        ),
      ),
    ([sequence, values, side]) =>
      withTensors([sequence, values] as const, (a, b) =>
        expectParity((s: tf.Tensor, v: tf.Tensor) => tf.searchSorted(s, v, side), [a, b]),
      ),
  ));

test('unique: a shape that depends on data', () =>
  forAll(
    tensors(shapes(3, { min: 1, max: 4, minRank: 1 }), dtypes, { low: -1, high: 1 }).chain((drawn) =>
      fc.tuple(
        fc.constant({ ...drawn, values: drawn.values.map(Math.round) }),
        fc.integer({ min: -drawn.shape.length, max: drawn.shape.length - 1 }),
      ),
    ),
    ([drawn, axis]) =>
      withTensors([drawn] as const, (x) =>
        expectParity(
          (t: tf.Tensor) => {
            const { values, indices } = tf.unique(t, axis);
            // Work goes on with the result, whose shape is now known.
            return { values, indices, doubled: tf.add(values.toFloat(), values.toFloat()) };
          },
          [x],
        ),
      ),
  ));
