/** The detector's gradients, variable by variable, against finite differences in double precision; its graph against loops. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { wrap } from '../../../src/index.js';
import { config } from '../../../src/trainers/drlFsod/config.js';
import { type Detector, detector } from '../../../src/trainers/drlFsod/detector.js';
import { generator } from '../../../src/trainers/drlFsod/random.js';
import { graphConvolution, relevance, relevanceLoss } from '../../../src/trainers/drlFsod/relevance.js';

const NUM_CLASSES = 3;
const options = {
  ...config.parse({ width: 4, headWidth: 8, roisPerImage: 8, supportSize: 16, batchSize: 2, temperature: 2 }),
  ...{ numClasses: NUM_CLASSES, imageWidth: 32, imageHeight: 32, seed: 3 },
};
let batch: Record<string, tf.Tensor>;
beforeAll(() => {
  batch = {
    image: tf.randomUniform([2, 32, 32, 3], 0, 1, 'float32', 1),
    // No two anchors overlap a box alike: rounding would choose between them.
    boxes: tf.tensor([
      [
        [2.3, 3.1, 16.2, 14.7],
        [14.1, 16.6, 30.9, 30.2],
      ],
      [
        [8.6, 5.9, 24.3, 27.8],
        [0, 0, 0, 0],
      ],
    ]),
    labels: tf.tensor([0, 2, 1, 0], [2, 2], 'int32'),
    present: tf.tensor([1, 1, 1, 0], [2, 2]),
    ignored: tf.zeros([2, 2]),
    supports: tf.randomUniform([2, 2, 16, 16, 3], 0, 1, 'float32', 2),
    supportLabels: tf.tensor([0, 1, 2, 0], [2, 2], 'int32'),
  };
});
afterAll(() => tf.dispose(batch));

const valuesOf = (model: Detector): number[][] => model.variables.map((variable) => [...variable.dataSync()]);
const assign = (model: Detector, values: readonly (readonly number[])[]): void => {
  for (const [i, variable] of model.variables.entries()) {
    tf.tidy(() => variable.assign(tf.tensor([...values[i]!], variable.shape, 'float32')));
  }
};

/** What a training step of rate 1 subtracts, variable by variable. */
async function gradientsOf(model: Detector): Promise<number[][]> {
  const starts = valuesOf(model);
  const parallel = await wrap(model, { optimizer: tf.train.sgd(1), microBatches: 1 });
  await parallel.fit(batch, { batchSize: 2, shuffle: false, verbose: 0 });
  await parallel.close();
  const ends = valuesOf(model);
  assign(model, starts);
  return starts.map((start, i) => start.map((value, k) => value - ends[i]![k]!));
}

interface Slope {
  readonly name: string;
  readonly direction: readonly number[];
  readonly value: number;
}

/** Too short a step for a kink or another choice of RoIs; in double precision long enough. */
const STEP = 1e-7;

/**
 * Slopes of the loss along the gradient and a random direction together, in double precision: tfjs's own backend computes in
 * doubles, and stores them as such while Float32Array is Float64Array.
 */
function slopesOf(model: Detector, gradients: readonly (readonly number[])[]): Slope[] {
  const starts = valuesOf(model);
  const given = Object.entries(batch).map(([name, x]) => [name, x.shape, x.dtype, [...x.dataSync()]] as const);
  vi.stubGlobal('Float32Array', Float64Array);
  try {
    const lossOf = (values: readonly (readonly number[])[]): number =>
      tf.tidy(() => {
        assign(model, values);
        const fields = given.map(([name, shape, dtype, data]) => [name, tf.tensor(data, shape, dtype)]);
        const { loss } = model.loss(Object.fromEntries(fields), { training: true }) as { loss: tf.Tensor };
        return loss.dataSync()[0]!;
      });
    const base = lossOf(starts);
    return gradients.map((gradient, i) => {
      const { name } = model.variables[i]!;
      const random = generator(name);
      const noise = gradient.map(() => 2 * random() - 1);
      const [size, length] = [Math.hypot(...gradient), Math.hypot(...noise)];
      const direction = gradient.map((value, k) => value / size + noise[k]! / length);
      const moved = starts[i]!.map((value, k) => value + STEP * direction[k]!);
      return { name, direction, value: (lossOf(starts.with(i, moved)) - base) / STEP };
    });
  } finally {
    vi.unstubAllGlobals();
    assign(model, starts);
  }
}

/** Of |gradient|: what float32 leaves of it. */
const TOLERANCE = 1e-3;

function errorOf(gradient: readonly number[], { direction, value }: Slope): number {
  const found = gradient.reduce((sum, one, k) => sum + one * direction[k]!, 0);
  return Math.abs(found - value) / Math.hypot(...gradient);
}

describe.each(['none', 'normal', 'residual'] as const)('gradients (%s)', (architecture) => {
  let model: Detector;
  let gradients: number[][];
  let slopes: Slope[];
  beforeAll(async () => {
    model = detector({ ...options, architecture });
    gradients = await gradientsOf(model);
    slopes = slopesOf(model, gradients);
  });
  afterAll(() => tf.dispose([...model.variables]));

  it('are those of finite differences, variable by variable', () => {
    for (const [i, slope] of slopes.entries())
      expect(errorOf(gradients[i]!, slope), slope.name).toBeLessThan(TOLERANCE);
  });

  it('would not be, were one of them wrong by a per cent or out of order', () => {
    for (const [i, slope] of slopes.entries()) {
      const larger = gradients[i]!.map((value) => 1.01 * value);
      expect(errorOf(larger, slope), slope.name).toBeGreaterThan(TOLERANCE);
      const reversed = gradients[i]!.toReversed();
      expect(errorOf(reversed, slope), slope.name).toBeGreaterThan(TOLERANCE);
    }
  });
});

it('edges are correlations without the negative ones', () => {
  const rows = [
    [1, 2, 3, 4],
    [2, 4, 6, 9],
    [4, 3, 2, 1],
  ];
  const correlation = (a: number[], b: number[]): number => {
    const centre = (x: number[]) => x.map((one) => one - x.reduce((sum, each) => sum + each) / x.length);
    const [p, q] = [centre(a), centre(b)];
    const dot = (x: number[], y: number[]) => x.reduce((sum, one, i) => sum + one * y[i]!, 0);
    return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q));
  };
  const edges = relevance(tf.tensor(rows)).arraySync() as number[][];
  for (const [i, a] of rows.entries()) {
    for (const [j, b] of rows.entries())
      expect(edges[i]![j]).toBeCloseTo(i === j ? 1 : Math.max(0, correlation(a, b)), 5);
  }
});

it('two layers as the formula says, node by node', () => {
  const input = [
    [1, 0, 0],
    [0, 1, 0],
    [0.2, 0.5, 0.3],
  ];
  const edges = [
    [1, 0.1, 0.4],
    [0.1, 1, 0],
    [0.4, 0, 1],
  ];
  const deltas = [0, 1].map((layer) => [0, 1, 2].map((i) => [0, 1, 2].map((j) => Math.sin(5 * layer + 3 * i + j) / 2)));
  const times = (a: number[][], b: number[][]) =>
    a.map((row) => b[0]!.map((_, j) => row.reduce((s, x, k) => s + x * b[k]![j]!, 0)));
  for (const architecture of ['normal', 'residual'] as const) {
    let x = input;
    for (const [layer, delta] of deltas.entries()) {
      const weight = delta.map((row, i) => row.map((value, j) => value + Number(i === j)));
      let output = times(times(edges, x), weight);
      if (layer === 0) output = output.map((row) => row.map((value) => (value < 0 ? 0.2 * value : value)));
      x = architecture === 'residual' ? output.map((row, i) => row.map((value, j) => value * x[i]![j]!)) : output;
    }
    if (architecture === 'normal') x = x.map((row, i) => row.map((value, j) => value * input[i]![j]!));
    const expected = x.map((row) => row.map((value) => Math.max(0, value / Math.hypot(...row))));
    const got = graphConvolution(
      tf.tensor(input),
      tf.tensor(edges),
      deltas.map((one) => tf.tensor(one)),
      architecture,
    );
    const values = got.arraySync() as number[][];
    for (const [i, row] of expected.entries())
      for (const [j, one] of row.entries()) expect(values[i]![j]).toBeCloseTo(one, 4);
  }
  const loss = relevanceLoss(
    tf.tensor([
      [0.5, 0.1],
      [0.2, 0.25],
      [0.9, 0.9],
    ]),
    tf.tensor([
      [1, 0],
      [0, 1],
      [1, 0],
    ]),
    tf.tensor([1, 1, 0]),
  );
  expect(loss.dataSync()[0]).toBeCloseTo((Math.log(2) + Math.log(4)) / 2, 5);
});
