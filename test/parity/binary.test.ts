/** Element-wise kernels of two tensors, broadcast, against tfjs. */
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import { broadcastable, input, runs, seeds, shapes } from './cases.js';
import { expectParity, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

const ARITHMETIC = [
  'Add', 'Sub', 'Multiply', 'RealDiv', 'FloorDiv', 'Mod', 'Maximum', 'Minimum', 'Pow', 'SquaredDifference', 'Atan2',
]; // biome-ignore format: a list
const COMPARISONS = ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'];

const pairs = shapes(5).chain((target) =>
  fc.tuple(fc.constant(target), broadcastable(target), fc.boolean(), seeds, fc.boolean()),
);

describe('binary kernels', () => {
  test.each([...ARITHMETIC, ...COMPARISONS])('%s', (kernel) => {
    fc.assert(
      fc.property(pairs, ([target, other, swap, seed, awkward]) => {
        // Integer values on purpose: comparisons and remainders meet equal operands.
        const whole = COMPARISONS.includes(kernel);
        const make = (name: string, shape: number[], at: number) => {
          const made = input(name, shape, 'float32', at, { awkward });
          return whole ? { ...made, data: Float32Array.from(made.data, Math.round) } : made;
        };
        const [a, b] = swap ? [other, target] : [target, other];
        expectParity(kernel, [make('a', a, seed), make('b', b, seed + 1)]);
      }),
      runs(30),
    );
  });

  test.each([...ARITHMETIC.filter((kernel) => kernel !== 'Atan2'), ...COMPARISONS])('%s of int32', (kernel) => {
    const positive = kernel === 'Pow' ? { low: 0, high: 9 } : { low: -90000, high: 90000 };
    expectParity(kernel, [input('a', [7, 3], 'int32', 1, positive), input('b', [3], 'int32', 2, positive)]);
    const small = { low: -3, high: 3 };
    if (kernel !== 'Pow')
      expectParity(kernel, [input('a', [9, 9], 'int32', 3, small), input('b', [9, 1], 'int32', 4, small)]);
  });

  test.each(['LogicalAnd', 'LogicalOr', 'Equal', 'NotEqual'])('%s of bool', (kernel) => {
    expectParity(kernel, [input('a', [4, 5], 'bool', 1), input('b', [5], 'bool', 2)]);
  });

  test.each([
    ['both whole', [40, 1000], [40, 1000]],
    ['row', [400, 100], [100]],
    ['short row', [5000, 7], [7]],
    ['short row first', [3], [5000, 3]],
    ['column', [400, 100], [400, 1]],
    ['scalar', [40001], []],
    ['scalar first', [], [40001]],
    ['middle', [20, 30, 70], [20, 1, 70]],
    ['outer product', [200, 1], [1, 210]],
  ])('large operands: %s', (_, a, b) => {
    for (const kernel of ['Sub', 'Maximum', 'GreaterEqual']) {
      expectParity(kernel, [input('a', a, 'float32', 1), input('b', b, 'float32', 2)]);
    }
  });

  test.each([2, 1, 3, -1, 0, 0.5, 2.5])('Pow by the constant %d', (exponent) => {
    const x = input('a', [7, 11], 'float32', 1, { awkward: true });
    expectParity('Pow', [x, { name: 'b', shape: [], dtype: 'float32', data: Float32Array.of(exponent) }]);
  });

  test('Prelu, EluGrad', () => {
    expectParity('Prelu', [input('x', [4, 5, 6], 'float32', 1), input('alpha', [6], 'float32', 2)]);
    expectParity('EluGrad', [input('dy', [4, 5], 'float32', 1), input('y', [4, 5], 'float32', 2)]);
  });

  test('Select', () => {
    for (const shape of [[], [7], [3, 5], [2, 3, 4]]) {
      expectParity('Select', [
        input('condition', shape, 'bool', 1),
        input('t', shape, 'float32', 2),
        input('e', shape, 'float32', 3),
      ]);
      expectParity('Select', [
        input('condition', shape, 'bool', 1),
        input('t', shape, 'int32', 2),
        input('e', shape, 'int32', 3),
      ]);
    }
  });
});
