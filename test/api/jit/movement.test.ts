/** Ops that move, repeat, join, cut and pick data through merak.jit: -1 sizes, negative axes, empty parts, rank 0 to 6. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { jit } from '../../../src/index.js';
import { type Drawn, dtypes, shapes, sizeOf, tensors, valuesOf, withTensors } from './draw.js';
import { expectParity, forAll } from './parity.js';

beforeAll(() => tf.setBackend('cpu'));

const EXACT = { relative: 0, absolute: 0 };

/** Compares `fn` of one tensor. */
const same = (drawn: Drawn, fn: (x: tf.Tensor) => unknown) =>
  withTensors([drawn] as const, (x) => expectParity(fn, [x], EXACT));

const any = (maxRank = 6, options: Parameters<typeof shapes>[1] = {}) => tensors(shapes(maxRank, options), dtypes);

/** A tensor of rank 1 or more and one of its axes, counted from either end. */
const withAxis = (options: Parameters<typeof shapes>[1] = {}) =>
  any(5, { minRank: 1, ...options }).chain((drawn) =>
    fc.tuple(fc.constant(drawn), fc.integer({ min: -drawn.shape.length, max: drawn.shape.length - 1 })),
  );

describe('shape and order', () => {
  test('reshape with -1', () =>
    forAll(
      any(5, { min: 1 }).chain((x) => fc.tuple(fc.constant(x), fc.boolean())),
      ([x, front]) => {
        const last = x.shape.at(-1) ?? 1;
        return same(x, (t) => tf.reshape(t, front ? [-1, last] : [last, -1]));
      },
    ));

  test('expandDims, squeeze, flatten', () =>
    forAll(
      any(5).chain((x) => fc.tuple(fc.constant(x), fc.integer({ min: -x.shape.length - 1, max: x.shape.length }))),
      ([x, axis]) => same(x, (t) => [tf.expandDims(t, axis), tf.squeeze(tf.expandDims(t, axis)), t.flatten()]),
    ));

  test('transpose', () =>
    forAll(
      any(6, { max: 3 }).chain((x) => {
        const dims = [...x.shape.keys()];
        const perm = fc.shuffledSubarray(dims, { minLength: dims.length, maxLength: dims.length });
        return fc.tuple(fc.constant(x), fc.option(perm, { nil: undefined }));
      }),
      ([x, perm]) => same(x, (t) => tf.transpose(t, perm)),
    ));

  test('tile and broadcastTo', () =>
    forAll(
      any(5, { max: 3 }).chain((x) =>
        fc.tuple(fc.constant(x), fc.tuple(...x.shape.map(() => fc.integer({ min: 0, max: 3 })))),
      ),
      ([x, reps]) =>
        x.shape.length === 0
          ? same(x, (t) => tf.broadcastTo(t, [2, 3]))
          : same(x, (t) => [tf.tile(t, reps), tf.broadcastTo(tf.expandDims(t, 0), [3, ...t.shape])]),
    ));

  test('diag', () => forAll(any(3, { max: 3 }), (x) => same(x, (t) => tf.diag(t))));
});

describe('joining and cutting', () => {
  test('concat', () =>
    forAll(
      withAxis().chain(([x, axis]) =>
        fc.tuple(fc.constant(x), fc.constant(axis), fc.integer({ min: 0, max: 3 })).chain(([one, at, size]) => {
          const shape = one.shape.map((n, dim) => (dim === (at + one.shape.length) % one.shape.length ? size : n));
          return fc.tuple(fc.constant(one), valuesOf(shape, one.dtype), fc.constant(at));
        }),
      ),
      ([a, b, axis]) =>
        withTensors([a, b] as const, (x, y) =>
          expectParity((s: tf.Tensor, t: tf.Tensor) => tf.concat([s, t, s], axis), [x, y], EXACT),
        ),
    ));

  test('stack and unstack', () =>
    forAll(withAxis({ min: 1 }), ([x, axis]) => same(x, (t) => [tf.stack([t, t], axis), tf.unstack(t, axis)])));

  test('split by number and by sizes', () =>
    forAll(withAxis({ min: 2 }), ([x, axis]) => {
      const size = x.shape.at(axis)!;
      return same(x, (t) => [tf.split(t, size, axis), tf.split(t, [1, size - 1], axis), tf.split(t, [1, -1], axis)]);
    }));

  test('slice, sizes of -1 among them', () =>
    forAll(
      any(6, { min: 1, minRank: 1, max: 4 }).chain((x) =>
        fc.tuple(
          fc.constant(x),
          fc.tuple(
            ...x.shape.map((n) =>
              fc
                .integer({ min: 0, max: n - 1 })
                .chain((begin) =>
                  fc.tuple(
                    fc.constant(begin),
                    fc.constantFrom(-1, ...Array.from({ length: n - begin }, (_, i) => i + 1)),
                  ),
                ),
            ),
          ),
        ),
      ),
      ([x, ranges]) =>
        same(x, (t) =>
          tf.slice(
            t,
            ranges.map(([begin]) => begin),
            ranges.map(([, size]) => size),
          ),
        ),
    ));

  test('stridedSlice', () =>
    forAll(
      any(4, { min: 1, minRank: 1, max: 5 }).chain((x) =>
        fc.record({
          x: fc.constant(x),
          begin: fc.tuple(...x.shape.map((n) => fc.integer({ min: -n - 1, max: n }))),
          end: fc.tuple(...x.shape.map((n) => fc.integer({ min: -n - 1, max: n + 1 }))),
          strides: fc.tuple(...x.shape.map(() => fc.constantFrom(-2, -1, 1, 2))),
          beginMask: fc.integer({ min: 0, max: 3 }),
          endMask: fc.integer({ min: 0, max: 3 }),
        }),
      ),
      ({ x, begin, end, strides, beginMask, endMask }) =>
        same(x, (t) => tf.stridedSlice(t, begin, end, strides, beginMask, endMask)),
    ));

  test('pad and mirrorPad', () =>
    forAll(
      tensors(shapes(4, { min: 2, minRank: 1 }), fc.constantFrom('float32', 'int32')).chain((x) =>
        fc.tuple(
          fc.constant(x),
          fc.tuple(...x.shape.map(() => fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 1 })))),
        ),
      ),
      ([x, paddings]) =>
        same(x, (t) => [
          tf.pad(t, paddings, 2),
          tf.mirrorPad(t, paddings, 'reflect'),
          tf.mirrorPad(t, paddings, 'symmetric'),
        ]),
    ));
});

describe('blocks', () => {
  test('spaceToBatchND and back', () =>
    forAll(
      fc
        .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 2 }))
        .chain(([b0, b1, extra]) =>
          fc.tuple(
            valuesOf([2, b0 * 2, b1 * 3 - Math.min(extra, b1 * 3 - 1), 2], 'float32'),
            fc.constant<number[]>([b0, b1]),
          ),
        ),
      ([x, block]) => {
        const width = x.shape[2]!;
        const after = (block[1]! - (width % block[1]!)) % block[1]!;
        return same(x, (t) => {
          const batches = tf.spaceToBatchND(t, block, [
            [0, 0],
            [0, after],
          ]);
          return [
            batches,
            tf.batchToSpaceND(batches, block, [
              [0, 0],
              [0, after],
            ]),
          ];
        });
      },
    ));

  test('depthToSpace', () =>
    forAll(
      fc
        .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 2, max: 3 }), fc.constantFrom('NHWC', 'NCHW'))
        .chain(([size, block, format]) => {
          const depth = block * block * 2;
          const shape = format === 'NHWC' ? [2, size, 2, depth] : [2, depth, size, 2];
          return fc.tuple(valuesOf(shape, 'float32'), fc.constant(block), fc.constant(format as 'NHWC' | 'NCHW'));
        }),
      ([x, block, format]) => same(x, (t) => tf.depthToSpace(t as tf.Tensor4D, block, format)),
    ));
});

describe('picking and putting', () => {
  test('gather, batchDims among them', () =>
    forAll(
      any(4, { min: 1, minRank: 1 }).chain((x) =>
        fc
          .tuple(fc.integer({ min: 0, max: x.shape.length - 1 }), shapes(2, { min: 0, max: 3 }), fc.boolean())
          .chain(([axis, picks, batched]) => {
            const batchDims = batched ? Math.min(axis, 1) : 0;
            const shape = [...x.shape.slice(0, batchDims), ...picks];
            return fc.tuple(
              fc.constant(x),
              valuesOf(shape, 'int32', { low: 0, high: x.shape[axis]! - 1 }),
              fc.constant({ axis, batchDims }),
            );
          }),
      ),
      ([x, indices, { axis, batchDims }]) =>
        withTensors([x, indices] as const, (a, b) =>
          expectParity((t: tf.Tensor, i: tf.Tensor) => tf.gather(t, i as tf.Tensor1D, axis, batchDims), [a, b], EXACT),
        ),
    ));

  test('gatherND and scatterND', () =>
    forAll(
      any(4, { min: 1, minRank: 1, max: 3 }).chain((x) =>
        fc.tuple(fc.integer({ min: 1, max: x.shape.length }), fc.integer({ min: 0, max: 4 })).chain(([depth, rows]) =>
          fc.tuple(
            fc.constant(x),
            fc
              .array(fc.tuple(...x.shape.slice(0, depth).map((n) => fc.integer({ min: 0, max: n - 1 }))), {
                minLength: rows,
                maxLength: rows,
              })
              .map((list): Drawn => ({ shape: [rows, depth], dtype: 'int32', values: list.flat() })),
          ),
        ),
      ),
      ([x, indices]) =>
        withTensors([x, indices] as const, (a, b) =>
          expectParity(
            (t: tf.Tensor, i: tf.Tensor) => {
              const rows = tf.gatherND(t, i);
              return t.dtype === 'bool' ? [rows] : [rows, tf.scatterND(i, rows, t.shape)];
            },
            [a, b],
            { relative: 1e-6, absolute: 1e-6 },
          ),
        ),
    ));

  test('tensorScatterUpdate, sparseToDense', () =>
    forAll(
      fc
        .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 4 }))
        .chain(([n, rows]) =>
          fc.tuple(
            valuesOf([n, 2], 'float32'),
            fc.uniqueArray(fc.integer({ min: 0, max: n - 1 }), { minLength: 1, maxLength: rows }),
            valuesOf([8, 2], 'float32'),
          ),
        ),
      ([x, picks, updates]) =>
        withTensors([x, updates] as const, (t, u) =>
          expectParity(
            (a: tf.Tensor, b: tf.Tensor) => {
              const indices = tf.tensor2d(
                picks.map((row) => [row]),
                undefined,
                'int32',
              );
              const rows = tf.slice(b, [0, 0], [picks.length, 2]);
              const values = tf.slice(b, [0, 0], [picks.length, 1]).flatten();
              return [
                tf.tensorScatterUpdate(a, indices, rows),
                tf.sparseToDense(indices, values, [a.shape[0]!], tf.scalar(7)),
              ];
            },
            [t, u],
            EXACT,
          ),
        ),
    ));

  test('oneHot, unsortedSegmentSum', () =>
    forAll(
      fc
        .integer({ min: 1, max: 5 })
        .chain((n) =>
          fc.tuple(
            valuesOf([n], 'int32', { low: -1, high: 4 }),
            valuesOf([n, 3], 'float32'),
            fc.integer({ min: 1, max: 5 }),
          ),
        ),
      ([ids, x, depth]) =>
        withTensors([ids, x] as const, (i, t) =>
          expectParity(
            (a: tf.Tensor, b: tf.Tensor) => [
              tf.oneHot(a as tf.Tensor1D, depth, 3, -2),
              tf.unsortedSegmentSum(b, a as tf.Tensor1D, depth),
            ],
            [i, t],
            { relative: 1e-6, absolute: 1e-6 },
          ),
        ),
    ));

  test('an index outside rejects, naming it', async () => {
    const f = jit((x: tf.Tensor, i: tf.Tensor) => tf.gather(x, i as tf.Tensor1D));
    await expect(f(tf.ones([3, 2]), tf.tensor1d([0, 3], 'int32'))).rejects.toThrow(/index 3 is not in \[0, 3\)/);
    await expect(f(tf.ones([3, 2]), tf.tensor1d([-1, 0], 'int32'))).rejects.toThrow(/index -1/);
    f.dispose();
  });
});

test('bandPart, linspace, range, fill, eye', () =>
  forAll(
    fc.tuple(any(4, { min: 1, minRank: 2, max: 4 }), fc.integer({ min: -1, max: 3 }), fc.integer({ min: -1, max: 3 })),
    ([x, lower, upper]) => {
      const [rows = 1, columns = 1] = x.shape.slice(-2);
      return same(x, (t) => [
        tf.linalg.bandPart(t, Math.min(lower, rows), Math.min(upper, columns)),
        tf.linspace(-1, 2, sizeOf(x.shape)),
        tf.range(0, sizeOf(x.shape), 2, 'int32'),
        tf.fill(x.shape, 3, 'int32'),
        tf.eye(rows, columns),
      ]);
    },
  ));
