/** Places by index on the stand-in card: gathers, scatters, extremes, running sums, the largest k, one-hot rows, int32 products. */
import { describe, expect, it } from 'vitest';
import { loadAddon } from '../../src/runtime/native/addon.js';
import { expectAlike, nodeOf, type Stored, sizeOf, type Tensor, tensor } from './card.js';

const out = (shape: readonly number[], dtype: Stored = 'float32') => ({ shape, dtype });
const ids = (shape: readonly number[], limit: number, seed = 9) => tensor(shape, seed, 'int32', limit);
const DTYPES = ['float32', 'int32', 'bool'] as const;

describe.each(DTYPES)('of %s', (dtype) => {
  it('gathers', () => {
    const x = tensor([4, 5, 6], 1, dtype);
    expectAlike('GatherV2', { x, indices: ids([7], 4) }, [out([7, 5, 6], dtype)], { axis: 0, batchDims: 0 });
    expectAlike('GatherV2', { x, indices: ids([2, 3], 6) }, [out([4, 5, 2, 3], dtype)], { axis: 2, batchDims: 0 });
    expectAlike('GatherV2', { x, indices: ids([4, 2], 6) }, [out([4, 5, 2], dtype)], { axis: 2, batchDims: 1 });
    expectAlike('GatherV2', { x, indices: ids([0], 4) }, [out([0, 5, 6], dtype)], { axis: 0, batchDims: 0 });
    expectAlike('GatherNd', { params: x, indices: ids([3, 2], 4) }, [out([3, 6], dtype)]);
    expectAlike('GatherNd', { params: x, indices: ids([2, 3, 3], 4) }, [out([2, 3], dtype)]);
  });
  it('scatters rows in order', () => {
    const updates = tensor([50, 3], 2, dtype);
    const indices = ids([50, 1], 8);
    expectAlike('ScatterNd', { indices, updates }, [out([8, 3], dtype)], { shape: [8, 3] }, { tolerance: 0 });
    expectAlike('TensorScatterUpdate', { tensor: tensor([8, 3], 4, dtype), indices, updates }, [out([8, 3], dtype)]);
    const pairs = ids([1500, 2], 5);
    const many = tensor([1500], 3, dtype);
    expectAlike('ScatterNd', { indices: pairs, updates: many }, [out([5, 6], dtype)], { shape: [5, 6] });
    const one = { defaultValue: tensor([], 5, dtype) };
    expectAlike('SparseToDense', { sparseIndices: pairs, sparseValues: many, ...one }, [out([5, 6], dtype)]);
    expectAlike('SparseToDense', { sparseIndices: pairs, sparseValues: tensor([], 6, dtype), ...one }, [
      out([5, 6], dtype),
    ]);
    const segments = { x: tensor([40, 2, 2], 7, dtype), segmentIds: ids([40], 7) };
    expectAlike('UnsortedSegmentSum', segments, [out([5, 2, 2], dtype)], { numSegments: 5 });
  });
  it('finds the largest', () => {
    for (const [shape, k] of [
      [[3, 40], 5],
      [[2, 2100], 2100],
      [[1, 1], 1],
    ] as const) {
      const x = tensor(shape, 3, dtype, 50);
      if (dtype === 'float32' && shape[1] > 1) x.data.set([NaN, 0, -0, Infinity], 3);
      const outputs = [out([shape[0], k], dtype), out([shape[0], k], 'int32')];
      expectAlike('TopK', { x }, outputs, { k, sorted: true }, { tolerance: 0 });
    }
  });
  it.each(['ArgMax', 'ArgMin'])('%s', (kernel) => {
    const x = tensor([3, 70, 2], 1, dtype, 20);
    expectAlike(kernel, { x }, [out([3, 2], 'int32')], { axis: 1 });
    const rows = tensor([4, 75], 2, dtype, 20);
    if (dtype === 'float32') rows.data.set([NaN, 99, -99], 0);
    if (dtype === 'float32') rows.data.set([NaN, NaN, 99, -99], 80);
    expectAlike(kernel, { x: rows }, [out([4], 'int32')], { axis: 1 });
  });
});

describe.each(['Cumsum', 'Cumprod'])('%s', (kernel) => {
  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('exclusive %j, reverse %j', (exclusive, reverse) => {
    for (const axis of [0, 1]) {
      expectAlike(kernel, { x: tensor([5, 70], 1) }, [out([5, 70])], { axis, exclusive, reverse });
      const whole = tensor([5, 70], 1, 'int32');
      expectAlike(kernel, { x: whole }, [out([5, 70], 'int32')], { axis, exclusive, reverse });
    }
  });
});

it.each(['float32', 'int32'] as const)('counts, with weights of %s', (dtype) => {
  const none: Tensor = { shape: [0], dtype, data: tensor([0], 1, dtype).data };
  const exact = { tolerance: 0 };
  for (const [size, limit] of [
    [7, 9],
    [600, 700],
  ] as const) {
    const x = ids([2500], limit);
    const rows = ids([3, 400], limit);
    for (const weights of [none, tensor([2500], 3, dtype)])
      expectAlike('Bincount', { x, weights }, [out([size], dtype)], { size }, exact);
    for (const binaryOutput of [false, true])
      for (const weights of [none, tensor([3, 400], 4, dtype)])
        expectAlike('DenseBincount', { x: rows, weights }, [out([3, size], dtype)], { size, binaryOutput }, exact);
  }
});

it('names an index outside', () => {
  const x = tensor([4, 3], 1);
  const node = nodeOf('GatherV2', { x, indices: ids([2], 4) }, [out([2, 3])], { axis: 0, batchDims: 0 });
  expect(() => loadAddon().runCudaKernel(node, [x.data, Int32Array.of(1, -2)])).toThrow('index -2 is not in [0, 4)');
});

it('makes tensors out of few numbers', () => {
  const hot = { depth: 5, onValue: 2, offValue: -1 };
  for (const dtype of ['float32', 'int32'] as const) {
    expectAlike('OneHot', { indices: ids([3, 4], 7) }, [out([3, 4, 5], dtype)], { ...hot, dtype });
    expectAlike('Range', {}, [out([9], dtype)], { start: 3, stop: -1.5, step: -0.5, dtype }, { tolerance: 0 });
  }
  expectAlike('LinSpace', {}, [out([7])], { start: 0.1, stop: 2, num: 7 }, { tolerance: 0 });
  expectAlike('Diag', { x: tensor([6], 1) }, [out([6, 6])]);
  const scalar = (value: number): Tensor => ({ shape: [], dtype: 'int32', data: Int32Array.of(value) });
  for (const [lower, upper] of [
    [1, 0],
    [-1, 2],
  ] as const) {
    const input = tensor([2, 5, 4], 1);
    expectAlike('MatrixBandPart', { input, numLower: scalar(lower), numUpper: scalar(upper) }, [out([2, 5, 4])]);
  }
  const sorted = { ...tensor([2, 30], 4), data: tensor([2, 30], 4).data.slice().sort() };
  const values = tensor([2, 9], 5);
  for (const side of ['left', 'right'])
    expectAlike('SearchSorted', { sortedSequence: sorted, values }, [out([2, 9], 'int32')], { side });
});

it.each([
  [[5, 7], [7, 3], false, false],
  [[2, 1, 17, 20], [3, 33, 20], false, true],
  [[20, 4], [20, 18], true, false],
  [[4, 0], [0, 3], false, false],
])('int32 products of %j and %j', (a, b, transposeA, transposeB) => {
  const [m, n] = [transposeA ? a.at(-1)! : a.at(-2)!, transposeB ? b.at(-2)! : b.at(-1)!];
  const batch = a.length > 2 ? [2, 3] : [];
  const big = (shape: number[], seed: number) => ({
    ...tensor(shape, seed, 'int32'),
    data: Int32Array.from({ length: sizeOf(shape) }, (_, i) => Math.imul(i + seed, 2654435761)),
  });
  expectAlike('BatchMatMul', { a: big(a, 1), b: big(b, 2) }, [out([...batch, m, n], 'int32')], {
    transposeA,
    transposeB,
  });
});

it.each([
  ['channels', [8], true, true],
  ['channels of odd number', [7], false, true],
  ['one number', [1], true, false],
] as const)('batch norm of %s', (_, shape, hasScale, hasOffset) => {
  const channels = shape[0] === 1 ? 3 : shape[0];
  const x = tensor([2, 3, 5, channels], 1);
  const variance = tensor(shape, 3);
  variance.data.forEach((value, i) => {
    variance.data[i] = Math.abs(value) + 0.1;
  });
  const inputs = {
    x,
    mean: tensor(shape, 2),
    variance,
    ...(hasScale ? { scale: tensor(shape, 4) } : {}),
    ...(hasOffset ? { offset: tensor(shape, 5) } : {}),
  };
  expectAlike('FusedBatchNorm', inputs, [out(x.shape)], { varianceEpsilon: 1e-3 });
});
