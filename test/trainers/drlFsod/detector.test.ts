/** The detector's gradients, variable by variable, against finite differences; its graph against loops. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Batch, type JitFunction, jit, wrap } from '../../../src/index.js';
import { config } from '../../../src/trainers/drlFsod/config.js';
import { type Detector, detector } from '../../../src/trainers/drlFsod/detector.js';
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
    boxes: tf.tensor([
      [
        [2, 3, 16, 15],
        [14, 16, 31, 30],
      ],
      [
        [8, 6, 24, 28],
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

const scalar = async (f: JitFunction<[Batch], tf.Tensor>): Promise<number> => (await (await f(batch)).data())[0]!;

async function checkGradients(model: Detector): Promise<void> {
  const variables = [...model.variables];
  const loss = (given: Batch): tf.Tensor => (model.loss(given, { training: true }) as { loss: tf.Tensor }).loss;
  const value = jit(loss);
  // The gradient as training takes it: what a step of rate 1 subtracts.
  const starts = variables.map((variable) => variable.clone());
  const parallel = await wrap(model, { optimizer: tf.train.sgd(1), microBatches: 1 });
  await parallel.fit(batch, { batchSize: 2, shuffle: false, verbose: 0 });
  await parallel.close();
  const grads = variables.map((variable, i) => tf.sub(starts[i]!, variable));
  for (const [i, variable] of variables.entries()) variable.assign(starts[i]!);
  for (const [i, variable] of variables.entries()) {
    const gradient = grads[i]!;
    // Along its own sign pattern, so that the slope is the sum of magnitudes and no rounding hides it.
    const direction = tf.sign(gradient);
    const expected = tf.sum(tf.abs(gradient)).dataSync()[0]!;
    expect(Number.isFinite(expected), variable.name).toBe(true);
    expect(expected, variable.name).toBeGreaterThan(0);
    const start = starts[i]!;
    const slopeAt = async (step: number): Promise<number> => {
      variable.assign(start.add(direction.mul(step)));
      const above = await scalar(value);
      variable.assign(start.sub(direction.mul(step)));
      const below = await scalar(value);
      variable.assign(start);
      return (above - below) / (2 * step);
    };
    // The loss has kinks (relu, choices of RoIs) and float32 rounding, 3 % of some slopes: the best of several steps is taken.
    const errors: number[] = [];
    for (const step of [1e-3, 1e-4, 3e-5, 1e-5]) {
      errors.push(Math.abs((await slopeAt(step / Math.max(1, expected / 10))) - expected) / expected);
    }
    expect(Math.min(...errors), `${i}: ${variable.name} ${errors} of ${expected}`).toBeLessThan(0.1);
  }
  value.dispose();
  tf.dispose([...starts, ...grads]);
}

it.each(['none', 'normal', 'residual'] as const)(
  'every gradient is that of finite differences (%s)',
  async (architecture) => {
    const model = detector({ ...options, architecture });
    try {
      await checkGradients(model);
    } finally {
      tf.dispose([...model.variables]);
    }
  },
);

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
