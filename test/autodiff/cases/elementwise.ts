/** Element-wise kernels, with broadcasting. */
import type { Case, Operand } from '../finiteDifferences.js';

const x = (shape: readonly number[], low = -2, high = 2): Operand => ({ name: 'x', shape, low, high });
const unary = (kernel: string, low?: number, high?: number): Case => ({ kernel, operands: [x([3, 5], low, high)] });
const binary = (kernel: string, a: readonly number[], b: readonly number[], low = -2, high = 2): Case => ({
  kernel,
  operands: [
    { name: 'a', shape: a, low, high },
    { name: 'b', shape: b, low, high },
  ],
  title: `${kernel} [${a}] [${b}]`,
});
const pairs: [number[], number[]][] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[3], [2, 3]],
  [
    [2, 1, 3],
    [4, 1],
  ],
  [[], [2, 2]],
];

export const elementwiseCases: Case[] = [
  ...[
    'Abs',
    'Atan',
    'Asinh',
    'Ceil',
    'Cos',
    'Cosh',
    'Elu',
    'Erf',
    'Exp',
    'Expm1',
    'Floor',
    'Identity',
    'Neg',
    'Relu',
    'Round',
    'Selu',
  ].map((k) => unary(k)),
  ...['Sigmoid', 'Sign', 'Sin', 'Sinh', 'Softplus', 'Square', 'Tan', 'Tanh', 'ZerosLike', 'OnesLike'].map((k) =>
    unary(k, -1.4, 1.4),
  ),
  ...['Acos', 'Asin', 'Atanh'].map((k) => unary(k, -0.9, 0.9)),
  ...['Log', 'Sqrt', 'Rsqrt', 'Reciprocal'].map((k) => unary(k, 0.4, 3)),
  unary('Acosh', 1.3, 4),
  unary('Log1p', -0.5, 3),
  unary('Relu6', -3, 9),
  { kernel: 'LeakyRelu', operands: [x([3, 5])], attrs: { alpha: 0.2 } },
  { kernel: 'Step', operands: [x([3, 5])], attrs: { alpha: 0 } },
  { kernel: 'ClipByValue', operands: [x([3, 5])], attrs: { clipValueMin: -1.05, clipValueMax: 1.1 } },
  { kernel: 'Cast', operands: [x([3, 5])], attrs: { dtype: 'float32' } },
  ...['Add', 'Sub', 'Multiply', 'Maximum', 'Minimum', 'SquaredDifference', 'Atan2'].flatMap((k) =>
    pairs.map(([a, b]) => binary(k, a, b)),
  ),
  ...['RealDiv', 'Pow'].flatMap((k) => pairs.map(([a, b]) => binary(k, a, b, 0.6, 2.1))),
  ...pairs.map(([a, b]) => ({
    kernel: 'Mod',
    title: `Mod [${a}] [${b}]`,
    operands: [
      { name: 'a', shape: a, low: -5, high: 5 },
      { name: 'b', shape: b, low: 1.55, high: 1.95 },
    ],
  })),
  ...pairs.map(([a, b]) => ({
    kernel: 'FloorDiv',
    title: `FloorDiv [${a}] [${b}]`,
    operands: [
      { name: 'a', shape: a, low: 2.2, high: 2.8 },
      { name: 'b', shape: b, low: 0.82, high: 0.98 },
    ],
  })),
  { kernel: 'AddN', operands: ['0', '1', '2'].map((name) => ({ name, shape: [2, 3] })) },
  { kernel: 'Prelu', operands: [x([2, 3, 4]), { name: 'alpha', shape: [3, 4] }] },
  { kernel: 'Prelu', title: 'Prelu shared', operands: [x([2, 3, 4]), { name: 'alpha', shape: [1, 4] }] },
  {
    kernel: 'Select',
    operands: [
      { name: 'condition', shape: [2, 3], dtype: 'bool', values: [1, 0, 0, 1, 1, 0] },
      { name: 't', shape: [2, 3] },
      { name: 'e', shape: [2, 3] },
    ],
  },
];
