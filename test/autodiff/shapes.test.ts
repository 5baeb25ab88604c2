/** Gradient rules over random shapes: broadcasting, axes, repetitions, gathered dims. */
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureKernels } from '../../src/kernels/register.js';
import { type Case, gradientError } from './finiteDifferences.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
  ensureKernels('cpu');
});

const dims = (min: number, max: number) => fc.array(fc.integer({ min: 1, max: 3 }), { minLength: min, maxLength: max });
const check = (arbitrary: fc.Arbitrary<Case>) =>
  fc.assert(
    fc.property(arbitrary, (test) => {
      const { error, detail } = gradientError(test);
      expect(error, `${JSON.stringify(test)} ${detail}`).toBeLessThan(1e-2);
    }),
    { numRuns: 40 },
  );

/** Two shapes that broadcast: some dims of either become 1, leading dims of one may go. */
const broadcastPair = fc
  .tuple(dims(1, 4), fc.infiniteStream(fc.integer({ min: 0, max: 2 })), fc.nat({ max: 2 }), fc.boolean())
  .map(([shape, choices, dropped, swap]): [number[], number[]] => {
    const pick = shape.map(() => choices.next().value as number);
    const a = shape.map((size, dim) => (pick[dim] === 1 ? 1 : size));
    const b = shape.map((size, dim) => (pick[dim] === 2 ? 1 : size)).slice(Math.min(dropped, shape.length - 1));
    return swap ? [b, a] : [a, b];
  });

describe('gradient rules over random shapes', () => {
  it('binary kernels with broadcasting', () => {
    const kernels = ['Add', 'Sub', 'Multiply', 'RealDiv', 'SquaredDifference'];
    check(
      fc.tuple(fc.constantFrom(...kernels), broadcastPair).map(([kernel, [a, b]]) => ({
        kernel,
        operands: [
          { name: 'a', shape: a, low: 0.5, high: 2 },
          { name: 'b', shape: b, low: 0.6, high: 2.3 },
        ],
      })),
    );
  });

  it('maximum and minimum with broadcasting, away from ties, where differences mean nothing', () => {
    check(
      fc.tuple(fc.constantFrom('Maximum', 'Minimum'), broadcastPair, fc.boolean()).map(([kernel, [a, b], first]) => ({
        kernel,
        operands: [
          { name: 'a', shape: a, low: first ? 0.5 : 1.5, high: first ? 1 : 2 },
          { name: 'b', shape: b, low: first ? 1.5 : 0.5, high: first ? 2 : 1 },
        ],
      })),
    );
  });

  it('reductions over any axes', () => {
    check(
      fc
        .tuple(fc.constantFrom('Sum', 'Mean', 'Prod'), dims(1, 4), fc.infiniteStream(fc.boolean()), fc.boolean())
        .map(([kernel, shape, chosen, keepDims]) => ({
          kernel,
          operands: [{ name: 'x', shape, low: 0.5, high: 1.5 }],
          attrs: {
            axis: shape.flatMap((_, dim) => (chosen.next().value ? [dim] : [])),
            keepDims: keepDims && kernel === 'Sum',
          },
        }))
        .filter(({ attrs }) => attrs.axis.length > 0),
    );
  });

  it('tiles and matrix products', () => {
    check(
      dims(1, 4)
        .chain((shape) =>
          fc.tuple(
            fc.constant(shape),
            fc.array(fc.integer({ min: 1, max: 3 }), { minLength: shape.length, maxLength: shape.length }),
          ),
        )
        .map(([shape, reps]) => ({ kernel: 'Tile', operands: [{ name: 'x', shape }], attrs: { reps } })),
    );
    const size = fc.integer({ min: 1, max: 3 });
    check(
      fc
        .record({
          batch: dims(1, 2),
          one: fc.constantFrom('a', 'b', 'none'),
          m: size,
          k: size,
          n: size,
          transposeA: fc.boolean(),
          transposeB: fc.boolean(),
        })
        .map(({ batch, one, m, k, n, transposeA, transposeB }) => {
          const of = (name: string) => (one === name ? batch.map(() => 1) : batch);
          return {
            kernel: 'BatchMatMul',
            operands: [
              { name: 'a', shape: [...of('a'), ...(transposeA ? [k, m] : [m, k])] },
              { name: 'b', shape: [...of('b'), ...(transposeB ? [n, k] : [k, n])] },
            ],
            attrs: { transposeA, transposeB },
          };
        }),
    );
  });

  it('gathers along any axis, with batch dims', () => {
    check(
      fc.tuple(dims(1, 4), dims(1, 2), fc.nat(), fc.nat()).map(([shape, picked, at, numBatch]): Case => {
        const axis = at % shape.length;
        const batchDims = numBatch % (Math.min(axis, 1) + 1);
        const indices = [...shape.slice(0, batchDims), ...picked];
        const count = indices.reduce((total, size) => total * size, 1);
        const values = Array.from({ length: count }, (_, i) => (i * 5 + at) % (shape[axis] ?? 1));
        return {
          kernel: 'GatherV2',
          operands: [
            { name: 'x', shape },
            { name: 'indices', shape: indices, dtype: 'int32', values },
          ],
          attrs: { axis, batchDims },
        };
      }),
    );
  });
});
