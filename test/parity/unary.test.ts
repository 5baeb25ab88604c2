/** Element-wise kernels of one tensor against tfjs. */
import fc from 'fast-check';
import { beforeAll, describe, test } from 'vitest';
import type { DType } from '../../src/graph/graph.js';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { input, runs, seeds, shapes } from './cases.js';
import { expectClose, expectParity, runNative, type Tolerance, useReferenceBackend } from './compare.js';

beforeAll(useReferenceBackend);

/** Kernel, its attributes, the range its argument is drawn from, tolerance where it is not the usual one. */
const KERNELS: readonly [string, object, number, number, Tolerance?][] = [
  ['Abs', {}, -9, 9],
  ['Acos', {}, -1.1, 1.1],
  ['Acosh', {}, 0.5, 9],
  ['Asin', {}, -1.1, 1.1],
  ['Asinh', {}, -9, 9],
  ['Atan', {}, -9, 9],
  ['Atanh', {}, -1.1, 1.1],
  ['Ceil', {}, -9, 9],
  ['ClipByValue', { clipValueMin: -1.5, clipValueMax: 2.25 }, -4, 4],
  ['Cos', {}, -30, 30, { relative: 2e-6, absolute: 3e-7 }],
  ['Cosh', {}, -9, 9],
  ['Elu', {}, -9, 9],
  ['Erf', {}, -4, 4, { relative: 1e-6, absolute: 4e-7 }], // tfjs's own polynomial is good to 1.5e-7
  ['Exp', {}, -30, 30],
  ['Expm1', {}, -2, 2],
  ['Floor', {}, -9, 9],
  ['IsFinite', {}, -9, 9],
  ['IsInf', {}, -9, 9],
  ['IsNan', {}, -9, 9],
  ['LeakyRelu', { alpha: 0.3 }, -9, 9],
  ['Log', {}, 0, 9],
  ['Log1p', {}, -1, 3],
  ['Neg', {}, -9, 9],
  ['Reciprocal', {}, -9, 9],
  ['Relu', {}, -9, 9],
  ['Relu6', {}, -9, 9],
  ['Round', {}, -9, 9],
  ['Rsqrt', {}, 0, 9],
  ['Selu', {}, -9, 9],
  ['Sigmoid', {}, -20, 20],
  ['Sign', {}, -9, 9],
  ['Sin', {}, -30, 30, { relative: 2e-6, absolute: 3e-7 }],
  ['Sinh', {}, -9, 9],
  ['Softplus', {}, -20, 20, { relative: 2e-6, absolute: 2e-7 }],
  ['Sqrt', {}, 0, 9],
  ['Square', {}, -9, 9],
  ['Step', { alpha: 0.25 }, -4, 4],
  ['Tan', {}, -30, 30],
  ['Tanh', {}, -9, 9],
  ['Identity', {}, -9, 9],
  ['ZerosLike', {}, -9, 9],
  ['OnesLike', {}, -9, 9],
];

describe('unary kernels', () => {
  test.each(KERNELS)('%s', (kernel, attrs, low, high, tolerance) => {
    fc.assert(
      fc.property(shapes(), seeds, fc.boolean(), (shape, seed, awkward) => {
        const options = tolerance === undefined ? {} : { tolerance };
        expectParity(kernel, [input('x', shape, 'float32', seed, { low, high, awkward })], attrs, options);
      }),
      runs(25),
    );
    // Long enough for every vector width, with a tail, and for several threads.
    const options = tolerance === undefined ? {} : { tolerance };
    expectParity(kernel, [input('x', [3, 11111], 'float32', 5, { low, high, awkward: true })], attrs, options);
  });

  test.each(['Abs', 'Neg', 'Relu', 'Sign', 'Square', 'ZerosLike', 'OnesLike', 'ClipByValue'])(
    '%s of int32',
    (kernel) => {
      const attrs = kernel === 'ClipByValue' ? { clipValueMin: -3, clipValueMax: 2 } : {};
      // tfjs squares through float32, so stay where that is exact.
      const bound = kernel === 'Square' ? 4000 : 70000;
      expectParity(kernel, [input('x', [3, 7], 'int32', 1, { low: -bound, high: bound })], attrs);
    },
  );

  test('LogicalNot', () => expectParity('LogicalNot', [input('x', [3, 5], 'bool', 3)]));

  test('Cast between all dtypes', () => {
    const dtypes: DType[] = ['float32', 'int32', 'bool'];
    for (const from of dtypes)
      for (const to of dtypes) {
        expectParity('Cast', [input('x', [4, 9], from, 11, { low: -300, high: 300, awkward: true })], { dtype: to });
      }
  });

  test('Fill', () => {
    for (const [dtype, value] of [
      ['float32', 1.25],
      ['int32', -7],
      ['bool', 1],
      ['float32', 0],
    ] as const) {
      expectParity('Fill', [], { shape: [3, 5], value, dtype });
    }
  });

  test('AddN', () => {
    for (const dtype of ['float32', 'int32'] as const) {
      expectParity(
        'AddN',
        ['0', '1', '2'].map((name, index) => input(name, [5, 33], dtype, index, { low: -1000, high: 1000 })),
        {},
        { asList: true, tolerance: { relative: 1e-6, absolute: 1e-3 } },
      );
    }
  });

  test('the same bits on one thread and on two', () => {
    const x = input('x', [50021], 'float32', 9, { low: -5, high: 5 });
    const results = [1, 2].map((numThreads) => {
      loadAddon().setThreads(numThreads);
      return ['Tanh', 'Exp', 'Erf', 'Log'].map((kernel) => runNative(kernel, [x], {}, [x])[0] as Float32Array);
    });
    for (const [index, one] of (results[0] as Float32Array[]).entries()) {
      expectClose((results[1] as Float32Array[])[index] as Float32Array, one, { relative: 0, absolute: 0 }, 'threads');
    }
  });
});
