/** Generated chains on the stand-in card: every element-wise kernel, broadcasting, dtypes, awkward values. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DType } from '../../src/graph/graph.js';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { data } from '../parity/cases.js';
import { expectAlike, SUM_TIMES_TANH, type Tensor } from './card.js';

const make = (shape: readonly number[], seed: number, dtype: DType = 'float32', options = {}): Tensor => ({
  shape,
  dtype,
  data: data(
    dtype,
    shape.reduce((a, b) => a * b, 1),
    seed,
    options,
  ),
});

const UNARY = [
  'Abs', 'Acos', 'Acosh', 'Asin', 'Asinh', 'Atan', 'Atanh', 'Ceil', 'Cos', 'Cosh', 'Elu', 'Erf', 'Exp', 'Expm1', 'Floor', 'LeakyRelu', 'Log', 'Log1p',
  'Neg', 'Reciprocal', 'Relu', 'Relu6', 'Round', 'Rsqrt', 'Selu', 'Sigmoid', 'Sign', 'Sin', 'Sinh', 'Softplus', 'Sqrt', 'Square', 'Step', 'Tan', 'Tanh',
]; // biome-ignore format: a list
const BINARY = [
  'Add', 'Sub', 'Multiply', 'RealDiv', 'FloorDiv', 'Mod', 'Maximum', 'Minimum', 'Pow', 'SquaredDifference', 'Atan2',
]; // biome-ignore format: a list
const COMPARISONS = ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'];

describe('of one tensor', () => {
  it.each(UNARY)('%s', (kernel) => {
    for (const size of [1, 4, 1003])
      expectAlike(kernel, { x: make([size], size) }, [{ shape: [size], dtype: 'float32' }]);
    const awkward = { ...make([64], 5), data: data('float32', 64, 7, { awkward: true, low: -1, high: 1 }) };
    expectAlike(kernel, { x: awkward }, [{ shape: [64], dtype: 'float32' }]);
    expectAlike(kernel, { x: make([0, 3], 1) }, [{ shape: [0, 3], dtype: 'float32' }]);
  });
  it.each(['IsFinite', 'IsInf', 'IsNan'])('%s', (kernel) => {
    expectAlike(kernel, { x: make([50], 1, 'float32', { awkward: true }) }, [{ shape: [50], dtype: 'bool' }]);
  });
  it('casts as JavaScript does', () => {
    for (const from of ['float32', 'int32', 'bool'] as const)
      for (const to of ['float32', 'int32', 'bool'] as const)
        expectAlike('Cast', { x: make([70], 3, from, { awkward: true, low: -9, high: 9 }) }, [
          { shape: [70], dtype: to },
        ]);
  });
  it('clips, fills, negates integers and truth', () => {
    expectAlike('ClipByValue', { x: make([40], 1) }, [{ shape: [40], dtype: 'float32' }], {
      clipValueMin: -1,
      clipValueMax: 0.5,
    });
    expectAlike('Neg', { x: make([9], 1, 'int32') }, [{ shape: [9], dtype: 'int32' }]);
    expectAlike('Neg', { x: make([9], 1, 'bool') }, [{ shape: [9], dtype: 'bool' }]);
    for (const dtype of ['float32', 'int32', 'bool'] as const)
      expectAlike('OnesLike', { x: make([5], 1, dtype) }, [{ shape: [5], dtype }]);
    expectAlike('Fill', {}, [{ shape: [5], dtype: 'float32' }], { shape: [5], value: 2.5 });
  });
});

describe('of two tensors', () => {
  it.each([...BINARY, ...COMPARISONS])('%s', (kernel) => {
    const dtype = COMPARISONS.includes(kernel) ? 'bool' : 'float32';
    const awkward = { awkward: true, low: -3, high: 3 };
    for (const [a, b, out] of [
      [[12], [12], [12]],
      [[5, 8], [8], [5, 8]],
      [
        [3, 1, 7],
        [2, 1],
        [3, 2, 7],
      ],
    ] as const)
      expectAlike(kernel, { a: make(a, 1, 'float32', awkward), b: make(b, 2, 'float32', awkward) }, [
        { shape: out, dtype },
      ]);
  });
  it.each(['Add', 'FloorDiv', 'Maximum', 'LessEqual'])('%s of int32', (kernel) => {
    const dtype = kernel === 'LessEqual' ? 'bool' : 'int32';
    const wide = { low: -90000, high: 90000 };
    expectAlike(kernel, { a: make([7, 3], 1, 'int32', wide), b: make([3], 2, 'int32', wide) }, [
      { shape: [7, 3], dtype },
    ]);
  });
  it('selects', () => {
    const pick = (condition: number[], shape: number[]) =>
      expectAlike('Select', { condition: make(condition, 3, 'bool'), t: make(shape, 1), e: make(shape, 2) }, [
        { shape, dtype: 'float32' },
      ]);
    pick([4, 5], [4, 5]);
    pick([4], [4, 5]);
  });
});

it('broadcasts any shapes', () => {
  const dims = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.boolean(), fc.boolean()), { maxLength: 4 });
  fc.assert(
    fc.property(dims, fc.integer({ min: 0, max: 999 }), (list, seed) => {
      const shape = list.map(([dim]) => dim);
      const a = list.map(([dim, one]) => (one ? 1 : dim));
      const b = list.map(([dim, one, other]) => (other && !one ? 1 : dim));
      const out = shape.map((dim, d) => (a[d] === 1 ? b[d]! : dim));
      expectAlike('Sub', { a: make(a, seed), b: make(b, seed + 1) }, [{ shape: out, dtype: 'float32' }]);
    }),
    { numRuns: 12, seed: 4 },
  );
});

it('runs a fused chain as its steps one after the other', () => {
  const addon = loadAddon();
  const a = make([6, 8], 1);
  const b = make([8], 2);
  const float = (shape: number[]) => ({ shape, dtype: 'float32' as const });
  const run = (kernel: string, inputs: Record<string, Tensor['data']>, shapes: number[][]) =>
    addon.runKernel(
      { kernel, inputs: shapes.map(float), inputNames: Object.keys(inputs), outputs: [float([6, 8])], attrs: {} },
      Object.values(inputs),
    )[0]!;
  const sum = run('Add', { a: a.data, b: b.data }, [[6, 8], [8]]);
  const wanted = run('Multiply', { a: run('Tanh', { x: sum }, [[6, 8]]), b: sum }, [
    [6, 8],
    [6, 8],
  ]);
  const node = {
    kernel: 'MerakFused',
    inputs: [float([6, 8]), float([8])],
    inputNames: ['0', '1'],
    outputs: [float([6, 8])],
    attrs: SUM_TIMES_TANH,
  };
  const [got] = addon.runCudaKernel(node, [a.data, b.data]);
  for (const [i, x] of got!.entries()) expect(x).toBeCloseTo(wanted[i]!, 5);
});

it('runs random chains as their steps one after the other', () => {
  const addon = loadAddon();
  const float = (shape: readonly number[]) => ({ shape, dtype: 'float32' as const });
  const SHAPE = [5, 8];
  const names = fc.constantFrom('Add', 'Sub', 'Multiply', 'Maximum', 'Tanh', 'Square', 'Relu', 'Sigmoid');
  const step = fc.record({ name: names, operands: fc.tuple(fc.nat(99), fc.nat(99)) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 12 }), (drawn) => {
      const inputs = [make([5, 8], 1), make([8], 2), make([5, 1], 3)];
      const values = inputs.map(({ data, shape }) => ({ data, shape }));
      const steps = drawn.map(({ name, operands }) => {
        const arity = ['Add', 'Sub', 'Multiply', 'Maximum'].includes(name) ? 2 : 1;
        // The first step and one-operand steps take whole tensors: a chain's steps have the result's shape.
        const at = operands.slice(0, arity).map((operand) => operand % values.length);
        if (!at.some((one) => values[one]!.shape === inputs[0]!.shape || one >= inputs.length)) at[0] = 0;
        const own = at.map((one) => values[one]!);
        const inputNames = arity === 2 ? ['a', 'b'] : ['x'];
        const node = { kernel: name, inputs: own.map(({ shape }) => float(shape)), inputNames, attrs: {} };
        const [data] = addon.runKernel(
          { ...node, outputs: [float(SHAPE)] },
          own.map((one) => one.data),
        );
        values.push({ data: data as Float32Array, shape: SHAPE });
        return { name, at };
      });
      const attrs = {
        kernels: steps.map(({ name }) => name),
        operands: steps.flatMap(({ at }) => at),
        counts: steps.map(({ at }) => at.length),
        numbers: [],
        numberCounts: steps.map(() => 0),
      };
      const node = { kernel: 'MerakFused', inputNames: ['0', '1', '2'], outputs: [float(SHAPE)], attrs };
      const [got] = addon.runCudaKernel(
        { ...node, inputs: inputs.map(({ shape }) => float(shape)) },
        inputs.map(({ data }) => data),
      );
      const wanted = values.at(-1)!.data;
      for (const [i, x] of got!.entries())
        if (Number.isFinite(wanted[i]))
          expect(Math.abs(x - wanted[i]!) / (1 + Math.abs(wanted[i]!))).toBeLessThan(1e-4);
    }),
    { numRuns: 5, seed: 7 },
  );
});

it.each([
  ['Sum', [9, 33], [1]],
  ['Mean', [7, 5, 6], [1, 2]],
  ['Max', [300, 40], [0]],
  ['Min', [3, 40, 34], [1]],
  // In pieces: a few long rows, then columns.
  ['Sum', [2, 9001], [1]],
  ['Mean', [2, 700, 3], [1]],
  ['Sum', [20_000], [0]],
  ['Max', [4, 0, 3], [1]],
] as const)('reduces a chain by %s of %j over %j as its steps one after the other', (kernel, shape, axes) => {
  const addon = loadAddon();
  const float = (dims: readonly number[]) => ({ shape: dims, dtype: 'float32' as const });
  const row = make([shape.at(-1)!], 2);
  const x = make(shape, 1);
  const out = float(shape.filter((_, d) => !(axes as readonly number[]).includes(d)));
  const run = (name: string, inputs: readonly (typeof x)[], names: readonly string[], output = float(shape)) => {
    const attrs = { [name === 'Max' ? 'reductionIndices' : 'axis']: [...axes] };
    const node = { kernel: name, inputs: inputs.map((one) => float(one.shape)), inputNames: [...names], attrs };
    const [data] = addon.runKernel(
      { ...node, outputs: [output] },
      inputs.map((one) => one.data),
    );
    return { shape: output.shape, data: data as Float32Array } as typeof x;
  };
  const difference = run('Sub', [x, row], ['a', 'b']);
  const wanted = run(kernel, [run('Multiply', [difference, x], ['a', 'b'])], ['x'], out).data;
  const node = {
    kernel: 'MerakFused',
    inputs: [float(shape), float(row.shape)],
    inputNames: ['0', '1'],
    outputs: [out],
    attrs: {
      kernels: ['Sub', 'Multiply'],
      operands: [0, 1, 2, 0],
      counts: [2, 2],
      numbers: [],
      numberCounts: [0, 0],
      reduction: kernel,
      shape: [...shape],
      axes: [...axes],
    },
  };
  const [got] = addon.runCudaKernel(node, [x.data, row.data]);
  expect(got).toHaveLength(wanted.length);
  for (const [i, value] of got!.entries()) {
    if (Number.isNaN(wanted[i])) expect(value).toBeNaN();
    else expect(Math.abs(value - wanted[i]!) / (1 + Math.abs(wanted[i]!))).toBeLessThan(1e-5);
  }
});
