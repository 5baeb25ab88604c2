/** What is computed row by row: norms, softmax, cross-entropy, embeddings, reductions, element-wise functions. */
import { SUM_TIMES_TANH, type Tensor } from '../card.js';
import {
  type Case,
  caseOf,
  type Doubles,
  doubles,
  fresh,
  narrow,
  type Precision,
  placeOf,
  positive,
  storedAs,
} from './case.js';
import { gelu, geluSlope } from './products.js';

const rowsOf = ({ shape, data }: Doubles): Float64Array[] => {
  const width = shape.at(-1)!;
  return Array.from({ length: data.length / width }, (_, r) => data.subarray(r * width, (r + 1) * width));
};
const sum = (row: Float64Array) => row.reduce((total, x) => total + x, 0);
const map = ({ shape, data }: Doubles, to: (x: number, i: number) => number) => doubles(shape, data.map(to));

function layerNorm(precision: Precision, rows: number, width: number): Case[] {
  const inputs = { x: fresh([rows, width]), gamma: fresh([width]), beta: fresh([width]) };
  const epsilon = 1e-5;
  const outputs = [narrow(precision), 'float32', 'float32'] as const;
  const forward = caseOf('MerakLayerNorm', precision, inputs, { epsilon }, outputs, ({ x, gamma, beta }) => {
    const means = rowsOf(x).map((row) => sum(row) / width);
    const rstds = rowsOf(x).map((row, r) => 1 / Math.sqrt(sum(row.map((v) => (v - means[r]!) ** 2)) / width + epsilon));
    const at = (i: number) => Math.floor(i / width);
    const y = map(x, (v, i) => (v - means[at(i)]!) * rstds[at(i)]! * gamma.data[i % width]! + beta.data[i % width]!);
    return [y, doubles([rows], means), doubles([rows], rstds)];
  });
  const [, mean, rstd] = forward.reference as [Doubles, Doubles, Doubles];
  const known = { mean: storedAs(mean, 'float32'), rstd: storedAs(rstd, 'float32') };
  const slopes = { dy: fresh([rows, width], narrow(precision)), x: inputs.x, gamma: inputs.gamma, ...known };
  const made = ['float32', 'float32', 'float32'] as const;
  const backward = caseOf('MerakLayerNormGrad', precision, slopes, {}, made, ({ dy, x, gamma }) => {
    const at = (i: number) => Math.floor(i / width);
    const normal = map(x, (v, i) => (v - mean.data[at(i)]!) * rstd.data[at(i)]!);
    const scaled = map(dy, (v, i) => v * gamma.data[i % width]!);
    const means = rowsOf(scaled).map((row) => sum(row) / width);
    const along = rowsOf(map(scaled, (v, i) => v * normal.data[i]!)).map((row) => sum(row) / width);
    const dx = map(scaled, (v, i) => (v - means[at(i)]! - normal.data[i]! * along[at(i)]!) * rstd.data[at(i)]!);
    const [dgamma, dbeta] = [doubles([width]), doubles([width])];
    dy.data.forEach((v, i) => {
      dgamma.data[i % width]! += v * normal.data[i]!;
      dbeta.data[i % width]! += v;
    });
    return [dx, dgamma, dbeta];
  });
  return [forward, backward];
}

function softmax(): Case[] {
  const inputs = { logits: fresh([7, 1031], 'float32', 4) };
  const of = (x: Doubles, logarithm: boolean) =>
    doubles(
      x.shape,
      rowsOf(x).flatMap((row) => {
        const top = row.reduce((a, b) => Math.max(a, b));
        const total = sum(row.map((v) => Math.exp(v - top)));
        return [...row].map((v) => (logarithm ? v - top - Math.log(total) : Math.exp(v - top) / total));
      }),
    );
  return [
    caseOf('Softmax', 'f32', inputs, { dim: -1 }, ['float32'], ({ logits }) => [of(logits, false)]),
    caseOf('LogSoftmax', 'f32', inputs, { axis: -1 }, ['float32'], ({ logits }) => [of(logits, true)]),
  ];
}

function crossEntropy(): Case[] {
  const [rows, width] = [9, 5003];
  const labels: Tensor = { ...fresh([rows], 'int32', width) };
  labels.data[3] = -1;
  const inputs = { logits: fresh([rows, width], 'float32', 3), labels };
  const outputs = ['float32', 'float32'] as const;
  const forward = caseOf('MerakSoftmaxCrossEntropy', 'f32', inputs, {}, outputs, (given) => {
    const sums = rowsOf(given.logits).map((row) => {
      const top = row.reduce((a, b) => Math.max(a, b));
      return top + Math.log(sum(row.map((v) => Math.exp(v - top))));
    });
    const losses = sums.map((total, r) => {
      const label = given.labels.data[r]!;
      return label < 0 ? 0 : total - given.logits.data[r * width + label]!;
    });
    return [doubles([rows], losses), doubles([rows], sums)];
  });
  const logsumexp = storedAs(forward.reference[1]!, 'float32');
  const slopes = { dy: fresh([rows]), ...inputs, logsumexp };
  const backward = caseOf('MerakSoftmaxCrossEntropyGrad', 'f32', slopes, {}, ['float32'], (given) => [
    map(given.logits, (v, i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      const label = given.labels.data[row]!;
      const weight = Math.exp(v - forward.reference[1]!.data[row]!) - (column === label ? 1 : 0);
      return label < 0 ? 0 : weight * given.dy.data[row]!;
    }),
  ]);
  return [forward, backward];
}

function embeddingGradient(): Case {
  const [count, vocabSize, width] = [2500, 61, 33];
  const inputs = { dy: fresh([count, width]), ids: fresh([count], 'int32', vocabSize) };
  return caseOf('MerakEmbeddingGrad', 'f32', inputs, { vocabSize }, ['float32'], ({ dy, ids }) => {
    const table = doubles([vocabSize, width]);
    dy.data.forEach((v, i) => {
      table.data[ids.data[Math.floor(i / width)]! * width + (i % width)]! += v;
    });
    return [table];
  });
}

function reductions(): Case[] {
  const shape = [13, 701, 3];
  const joins: Record<string, [start: number, join: (a: number, b: number) => number]> = {
    Sum: [0, (a, b) => a + b],
    Mean: [0, (a, b) => a + b / 701],
    Max: [-Infinity, Math.max],
    Min: [Infinity, Math.min],
  };
  const middle = Object.entries(joins).map(([kernel, [start, join]]) => {
    const attrs = { [kernel === 'Max' ? 'reductionIndices' : 'axis']: [1] };
    return caseOf(kernel, 'f32', { x: fresh(shape) }, attrs, ['float32'], ({ x }) => {
      const y = doubles([13, 3], new Array(39).fill(start));
      x.data.forEach((v, i) => {
        const [a, , c] = placeOf(i, shape) as [number, number, number];
        y.data[a * 3 + c] = join(y.data[a * 3 + c]!, v);
      });
      return [y];
    });
  });
  const columns = caseOf('MerakColumnSum', 'f32', { x: fresh([1999, 37]) }, {}, ['float32'], ({ x }) => {
    const y = doubles([37]);
    x.data.forEach((v, i) => {
      y.data[i % 37]! += v;
    });
    return [y];
  });
  return [...middle, columns];
}

function elementwise(): Case[] {
  const [a, b] = [fresh([41, 29]), fresh([29])];
  const functions: Record<string, (x: number) => number> = {
    Exp: Math.exp,
    Tanh: Math.tanh,
    Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    Softplus: (x) => Math.log1p(Math.exp(x)),
    Sin: Math.sin,
    Expm1: Math.expm1,
    Asinh: Math.asinh,
  };
  const unary = Object.entries(functions).map(([kernel, of]) =>
    caseOf(kernel, 'f32', { x: a }, {}, ['float32'], ({ x }) => [map(x, of)]),
  );
  const ofPositive = { Log: Math.log, Sqrt: Math.sqrt, Rsqrt: (x: number) => 1 / Math.sqrt(x) };
  const more = Object.entries(ofPositive).map(([kernel, of]) =>
    caseOf(kernel, 'f32', { x: positive([41, 29]) }, {}, ['float32'], ({ x }) => [map(x, of)]),
  );
  const divided = caseOf('RealDiv', 'f32', { a, b: positive([29]) }, {}, ['float32'], (given) => [
    map(given.a, (x, i) => x / given.b.data[i % 29]!),
  ]);
  const chain = caseOf('MerakFused', 'f32', { x0: a, x1: b }, SUM_TIMES_TANH, ['float32'], ({ x0, x1 }) => [
    map(x0, (x, i) => Math.tanh(x + x1.data[i % 29]!) * (x + x1.data[i % 29]!)),
  ]);
  const wide = [3, 5, 2003];
  const reduction = { ...SUM_TIMES_TANH, reduction: 'Mean', shape: wide, axes: [1, 2] };
  const reduced = caseOf(
    'MerakFused',
    'f32',
    { x0: fresh(wide), x1: fresh([2003]) },
    reduction,
    ['float32'],
    (given) => {
      const means = doubles([3]);
      given.x0.data.forEach((v, i) => {
        const x = v + given.x1.data[i % 2003]!;
        means.data[Math.floor(i / (5 * 2003))]! += (Math.tanh(x) * x) / (5 * 2003);
      });
      return [means];
    },
  );
  const activation = (['f32', 'bf16', 'f16'] as const).flatMap((precision) => {
    const dtype = narrow(precision);
    const x = fresh([7, 93], dtype);
    const approximate = { approximate: 'tanh' };
    return [
      caseOf('MerakGelu', precision, { x }, approximate, [dtype], (given) => [map(given.x, gelu)]),
      caseOf('MerakGeluGrad', precision, { dy: fresh([7, 93], dtype), x }, approximate, [dtype], (given) => [
        map(given.dy, (v, i) => v * geluSlope(given.x.data[i]!)),
      ]),
    ];
  });
  return [...unary, ...more, divided, chain, reduced, ...activation];
}

export const rowCases = (): Case[] => [
  ...layerNorm('f32', 11, 773),
  ...layerNorm('bf16', 37, 256),
  ...layerNorm('f16', 5, 1600),
  ...softmax(),
  ...crossEntropy(),
  embeddingGradient(),
  ...reductions(),
  ...elementwise(),
];
