/** Convolutions, pools and batch norm, by what each window touches. */
import { type Case, caseOf, type Doubles, doubles, fresh, placeOf, positive } from './case.js';

/** [batch, height, width] in and out, filter, stride, dilation and padding before, of two dims. */
interface Windows {
  readonly x: readonly [number, number, number, number];
  readonly y: readonly [number, number, number];
  readonly filter: readonly [number, number];
  readonly stride: number;
  readonly dilation: number;
  readonly before: readonly [number, number];
}

/** Calls visit(input pixel, tap, output pixel) for every pair that meets; pixels count over the whole batch. */
function forPairs(
  { x, y, filter, stride, dilation, before }: Windows,
  visit: (from: number, tap: number, to: number) => void,
) {
  for (let to = 0; to < y[0] * y[1] * y[2]; to++) {
    const [b, row, column] = placeOf(to, y) as [number, number, number];
    for (let tap = 0; tap < filter[0] * filter[1]; tap++) {
      const i = row * stride - before[0] + Math.floor(tap / filter[1]) * dilation;
      const j = column * stride - before[1] + (tap % filter[1]) * dilation;
      if (i >= 0 && i < x[1] && j >= 0 && j < x[2]) visit((b * x[1] + i) * x[2] + j, tap, to);
    }
  }
}

// 'same' with a stride of 2 pads 8 x 7 to 3 x 3 windows by one row after and one column on both sides.
const SAME: Windows = { x: [2, 8, 7, 5], y: [2, 4, 4], filter: [3, 3], stride: 2, dilation: 1, before: [0, 1] };
const VALID: Windows = { x: [1, 11, 9, 4], y: [1, 9, 5], filter: [2, 3], stride: 1, dilation: 2, before: [0, 0] };

function convolutions(windows: Windows, pad: string, precision: 'f32' | 'tf32' | 'bf16' | 'f16'): Case[] {
  const [inC, outC] = [windows.x[3], 6];
  const [x, filter, dy] = [fresh(windows.x), fresh([...windows.filter, inC, outC]), fresh([...windows.y, outC])];
  const attrs = {
    strides: windows.stride,
    dilations: windows.dilation,
    pad,
    ...(precision === 'f32' ? {} : { precision }),
  };
  const each = (visit: (atX: number, atFilter: number, atY: number) => void) =>
    forPairs(windows, (from, tap, to) => {
      for (let c = 0; c < inC; c++)
        for (let o = 0; o < outC; o++) visit(from * inC + c, (tap * inC + c) * outC + o, to * outC + o);
    });
  const summed = (shape: readonly number[], add: (into: Float64Array) => void): Doubles[] => {
    const y = doubles(shape);
    add(y.data);
    return [y];
  };
  return [
    caseOf('Conv2D', precision, { x, filter }, attrs, ['float32'], (given) =>
      summed(dy.shape, (into) =>
        each((a, f, y) => {
          into[y]! += given.x.data[a]! * given.filter.data[f]!;
        }),
      ),
    ),
    caseOf(
      'Conv2DBackpropInput',
      precision,
      { dy, filter },
      { ...attrs, inputShape: [...x.shape] },
      ['float32'],
      (given) =>
        summed(x.shape, (into) =>
          each((a, f, y) => {
            into[a]! += given.dy.data[y]! * given.filter.data[f]!;
          }),
        ),
    ),
    caseOf(
      'Conv2DBackpropFilter',
      precision,
      { x, dy },
      { ...attrs, filterShape: [...filter.shape] },
      ['float32'],
      (given) =>
        summed(filter.shape, (into) =>
          each((a, f, y) => {
            into[f]! += given.x.data[a]! * given.dy.data[y]!;
          }),
        ),
    ),
  ];
}

function pools(windows: Windows, pad: string): Case[] {
  const channels = windows.x[3];
  const outShape = [...windows.y, channels];
  const [input, dy] = [fresh(windows.x), fresh(outShape)];
  const attrs = { filterSize: [...windows.filter], strides: windows.stride, dilations: windows.dilation, pad };
  const each = (visit: (atX: number, atY: number) => void) =>
    forPairs(windows, (from, _, to) => {
      for (let c = 0; c < channels; c++) visit(from * channels + c, to * channels + c);
    });
  /** Of each window the place of its maximum. */
  const winners = (x: Doubles) => {
    const best = new Int32Array(dy.data.length).fill(-1);
    each((a, y) => {
      if (best[y] === -1 || x.data[a]! > x.data[best[y]!]!) best[y] = a;
    });
    return best;
  };
  return [
    caseOf('MaxPool', 'f32', { x: input }, attrs, ['float32'], ({ x }) => [
      doubles(
        outShape,
        Array.from(winners(x), (a) => x.data[a]!),
      ),
    ]),
    caseOf('MaxPoolGrad', 'f32', { dy, input }, attrs, ['float32'], (given) => {
      const dx = doubles(windows.x);
      winners(given.input).forEach((a, y) => {
        dx.data[a]! += given.dy.data[y]!;
      });
      return [dx];
    }),
    caseOf('AvgPool', 'f32', { x: input }, attrs, ['float32'], ({ x }) => {
      const [sums, counts] = [doubles(outShape), doubles(outShape)];
      each((a, y) => {
        sums.data[y]! += x.data[a]!;
        counts.data[y]! += 1;
      });
      return [
        doubles(
          outShape,
          sums.data.map((total, y) => total / counts.data[y]!),
        ),
      ];
    }),
  ];
}

function batchNorm(): Case {
  const shape = [3, 5, 4, 7];
  const inputs = { x: fresh(shape), mean: fresh([7]), variance: positive([7]), scale: fresh([7]), offset: fresh([7]) };
  const varianceEpsilon = 1e-3;
  return caseOf('FusedBatchNorm', 'f32', inputs, { varianceEpsilon }, ['float32'], (given) => [
    doubles(
      shape,
      given.x.data.map((x, i) => {
        const c = i % 7;
        const factor = given.scale.data[c]! / Math.sqrt(given.variance.data[c]! + varianceEpsilon);
        return given.offset.data[c]! + (x - given.mean.data[c]!) * factor;
      }),
    ),
  ]);
}

export const imageCases = (): Case[] => [
  ...convolutions(SAME, 'same', 'f32'),
  ...convolutions(VALID, 'valid', 'f32'),
  ...convolutions(SAME, 'same', 'tf32'),
  ...convolutions(SAME, 'same', 'bf16'),
  ...convolutions(VALID, 'valid', 'f16'),
  ...pools(SAME, 'same'),
  ...pools({ ...VALID, dilation: 1, y: [1, 10, 7] }, 'valid'),
  batchNorm(),
];
