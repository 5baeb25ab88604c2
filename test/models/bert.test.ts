/** merak.models.bert on plain tfjs: padding and ignored labels have no influence, and it learns. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { bert } from '../../src/models/bert.js';
import { close } from '../kernels/numeric.js';

const SMALL = { vocabularySize: 11, contextLength: 6, numLayers: 2, numHeads: 2, hiddenSize: 8 };
const int = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('bert', () => {
  const tokens = int([
    [1, 2, 3, 4, 5, 6],
    [7, 8, 9, 10, 0, 0],
  ]);
  const labels = int([
    [-1, 2, -1, -1, 5, -1],
    [-1, -1, 9, -1, -1, -1],
  ]);
  const segments = int([
    [0, 0, 0, 1, 1, 1],
    [0, 0, 1, 1, 1, 1],
  ]);
  const mask = int([
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 0, 0],
  ]);

  it('averages over the labels that count', () => {
    const model = bert(SMALL);
    const logits = model.logits({ tokens, segments, mask }).reshape([12, 11]).arraySync() as number[][];
    const flat = Array.from(labels.dataSync());
    const losses = flat.flatMap((label, i) => {
      if (label < 0) return [];
      const row = logits[i]!;
      return [Math.log(row.reduce((a, x) => a + Math.exp(x), 0)) - row[label]!];
    });
    const loss = model.loss({ tokens, labels, segments, mask }, { training: false }).dataSync();
    close(loss, [losses.reduce((a, b) => a + b) / 3], 1e-5);
    const none = int([new Array(6).fill(-1), new Array(6).fill(-1)]);
    expect(model.loss({ tokens, labels: none }, { training: true }).dataSync()[0]).toBe(0);
    model.dispose();
  });

  it('does not see padding', () => {
    const model = bert(SMALL);
    const other = int([
      [1, 2, 3, 4, 5, 6],
      [7, 8, 9, 10, 3, 4],
    ]);
    const seen = (t: tf.Tensor) =>
      (model.logits({ tokens: t, mask }) as tf.Tensor3D).slice([1, 0, 0], [1, 4, 11]).dataSync();
    close(seen(other), seen(tokens), 1e-6);
    expect(model.predict({ tokens }).pooled.shape).toEqual([2, 8]);
    model.dispose();
  });

  it('learns with a tfjs optimizer', () => {
    const model = bert(SMALL);
    const optimizer = tf.train.adam(0.01);
    const used = model.variables.filter((v) => !v.name.includes('pooler'));
    const step = () =>
      optimizer
        .minimize(() => model.loss({ tokens, labels, segments, mask }, { training: true }), true, used)!
        .dataSync()[0]!;
    const first = step();
    for (let i = 0; i < 15; i++) step();
    expect(step()).toBeLessThan(first / 2);
    model.dispose();
  });

  it('refuses bad batches', () => {
    const model = bert(SMALL);
    expect(() => model.loss({ tokens }, { training: false })).toThrow(/"labels"/);
    expect(() => model.loss({ tokens: tokens.toFloat(), labels }, { training: false })).toThrow(/int32/);
    model.dispose();
  });
});
