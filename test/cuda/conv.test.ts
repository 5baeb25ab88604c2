/** Convolutions, pooling and resizing on the stand-in card: strides, dilations, paddings, several tiles, nothing at all. */
import { describe, it } from 'vitest';
import type { Attrs } from '../../src/graph/graph.js';
import { expectAlike, type Stored, tensor } from './card.js';

// Our own kernels; test/cuda/cudnn.test.ts has the others.
process.env.MERAK_CUDNN = 'off';

const float = (shape: readonly number[]) => ({ shape, dtype: 'float32' as const });

interface Case {
  readonly x: readonly number[];
  /** Spatial dims, then output channels (or the multiplier). */
  readonly filter: readonly number[];
  readonly strides?: number;
  readonly dilations?: number;
  readonly pad: 'same' | 'valid' | number;
}

/** The output's spatial size as tfjs works it out. */
function sizeOut(size: number, taps: number, { strides = 1, dilations = 1, pad }: Omit<Case, 'x' | 'filter'>): number {
  const extent = (taps - 1) * dilations + 1;
  if (pad === 'same') return Math.ceil(size / strides);
  return Math.floor((size - extent + 2 * (pad === 'valid' ? 0 : pad)) / strides) + 1;
}

function shapes(one: Case, depthwise: boolean) {
  const { x, filter } = one;
  const channels = x.at(-1)!;
  const spatial = x.slice(1, -1).map((size, d) => sizeOut(size, filter[d]!, one));
  const made = filter.at(-1)! * (depthwise ? channels : 1);
  const w = [...filter.slice(0, -1), channels, filter.at(-1)!];
  const n = spatial.length;
  const { strides = 1, dilations = 1, pad } = one;
  const attrs: Attrs = { strides: Array(n).fill(strides), dilations: Array(n).fill(dilations), pad };
  return { y: [x[0]!, ...spatial, made], w, attrs };
}

const FLAT: readonly Case[] = [
  { x: [2, 7, 9, 3], filter: [3, 3, 5], pad: 'same' },
  { x: [2, 8, 7, 5], filter: [3, 2, 70], strides: 2, pad: 'same' },
  { x: [1, 11, 9, 4], filter: [2, 3, 3], dilations: 2, pad: 'valid' },
  { x: [3, 6, 6, 9], filter: [1, 1, 4], strides: 2, pad: 'valid' },
  { x: [1, 5, 6, 2], filter: [3, 3, 3], strides: 3, pad: 1 },
  // Sums long enough to be cut into pieces.
  { x: [2, 20, 19, 3], filter: [3, 3, 2], pad: 'same' },
  { x: [1, 4, 4, 130], filter: [3, 3, 6], pad: 'same' },
  { x: [0, 4, 4, 3], filter: [3, 3, 2], pad: 'same' },
];

describe('convolutions', () => {
  it.each(FLAT)('%j', (one) => {
    const { y, w, attrs } = shapes(one, false);
    const [x, filter, dy] = [tensor(one.x, 1), tensor(w, 2), tensor(y, 3)];
    expectAlike('Conv2D', { x, filter }, [float(y)], attrs);
    expectAlike('Conv2DBackpropInput', { dy, filter }, [float(one.x)], { ...attrs, inputShape: [...one.x] });
    expectAlike('Conv2DBackpropFilter', { x, dy }, [float(w)], { ...attrs, filterShape: w });
  });
  it('in three dims', () => {
    const one: Case = { x: [2, 4, 5, 6, 3], filter: [2, 3, 3, 4], strides: 2, pad: 'same' };
    const { y, w, attrs } = shapes(one, false);
    const [x, filter, dy] = [tensor(one.x, 1), tensor(w, 2), tensor(y, 3)];
    expectAlike('Conv3D', { x, filter }, [float(y)], attrs);
    expectAlike('Conv3DBackpropInputV2', { dy, filter }, [float(one.x)], { ...attrs, inputShape: [...one.x] });
    expectAlike('Conv3DBackpropFilterV2', { x, dy }, [float(w)], { ...attrs, filterShape: w });
  });
  it.each([
    { x: [2, 7, 9, 3], filter: [3, 3, 1], pad: 'same' },
    { x: [1, 8, 6, 35], filter: [3, 2, 2], strides: 2, pad: 'same' },
    { x: [2, 17, 18, 2], filter: [2, 2, 3], dilations: 2, pad: 'valid' },
  ] satisfies Case[])('depthwise, %j', (one: Case) => {
    const { y, w, attrs } = shapes(one, true);
    const [x, filter, dy] = [tensor(one.x, 1), tensor(w, 2), tensor(y, 3)];
    expectAlike('DepthwiseConv2dNative', { x, filter }, [float(y)], attrs);
    expectAlike('DepthwiseConv2dNativeBackpropInput', { dy, filter }, [float(one.x)], attrs);
    expectAlike('DepthwiseConv2dNativeBackpropFilter', { x, dy }, [float(w)], attrs);
  });
});

describe('pooling', () => {
  const POOLS: readonly Case[] = [
    { x: [2, 7, 9, 3], filter: [2, 2], strides: 2, pad: 'valid' },
    { x: [2, 7, 8, 5], filter: [3, 3], strides: 2, pad: 'same' },
    { x: [1, 6, 5, 2], filter: [3, 2], strides: 1, pad: 1 },
    { x: [1, 4, 5, 6, 3], filter: [2, 3, 2], strides: 2, pad: 'same' },
    { x: [0, 4, 4, 3], filter: [2, 2], strides: 2, pad: 'same' },
  ];
  it.each(POOLS)('%j', (one) => {
    const n = one.filter.length;
    const y = [one.x[0]!, ...one.x.slice(1, -1).map((size, d) => sizeOut(size, one.filter[d]!, one)), one.x.at(-1)!];
    const attrs = { filterSize: one.filter, strides: Array(n).fill(one.strides), dilations: 1, pad: one.pad } as Attrs;
    const suffix = n === 3 ? '3D' : '';
    // Few distinct values: maxima are often equal.
    const x = { ...tensor(one.x, 1), data: Float32Array.from(tensor(one.x, 1, 'int32', 4).data) };
    const dy = tensor(y, 2);
    if (x.data.length > 9) x.data[5] = NaN;
    expectAlike(`MaxPool${suffix}`, { x }, [float(y)], attrs, { tolerance: 0 });
    expectAlike(`MaxPool${suffix}Grad`, { dy, input: x }, [float(one.x)], attrs);
    expectAlike(`AvgPool${suffix}`, { x: tensor(one.x, 3) }, [float(y)], attrs);
    expectAlike(`AvgPool${suffix}Grad`, { dy, input: x }, [float(one.x)], attrs);
  });
  it.each(['int32', 'bool'] satisfies Stored[])('the maximum of %s', (dtype) => {
    const attrs = { filterSize: [2, 2], strides: [2, 2], dilations: 1, pad: 'valid' };
    expectAlike('MaxPool', { x: tensor([2, 5, 6, 3], 1, dtype) }, [{ shape: [2, 2, 3, 3], dtype }], attrs);
  });
});

it.each([true, false])('max pooling with places, in the batch: %j', (includeBatchInIndex) => {
  const x = tensor([2, 7, 6, 3], 1);
  x.data.fill(NaN, 0, 9);
  x.data.fill(2.5, 60, 90);
  const attrs = { filterSize: [3, 2], strides: [2, 2], pad: 'same', includeBatchInIndex };
  const shape = [2, 4, 3, 3];
  expectAlike('MaxPoolWithArgmax', { x }, [float(shape), { shape, dtype: 'int32' }], attrs, { tolerance: 0 });
});

describe.each(['ResizeBilinear', 'ResizeNearestNeighbor'])('%s', (kernel) => {
  it.each([
    [false, false],
    [true, false],
    [false, true],
  ])('aligned corners %j, half pixels %j', (alignCorners, halfPixelCenters) => {
    for (const [from, to] of [
      [
        [4, 5],
        [9, 7],
      ],
      [
        [7, 8],
        [3, 8],
      ],
      [
        [1, 3],
        [4, 1],
      ],
    ] as const) {
      const [small, big] = [[2, ...from, 3] as const, [2, ...to, 3] as const];
      const attrs = { alignCorners, halfPixelCenters, size: [...to] };
      const images = tensor(small, 1);
      expectAlike(kernel, { images }, [float(big)], attrs);
      expectAlike(`${kernel}Grad`, { images, dy: tensor(big, 2) }, [float(small)], attrs);
    }
  });
});
