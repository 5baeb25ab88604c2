/** The encoder's own features: bottleneck, repeated blocks, probabilities, pooling, streams of dropout. */
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { models, nn } from '../../src/index.js';

const SIZE = { vocabularySize: 20, contextLength: 5, numHeads: 2, hiddenSize: 8 } as const;

beforeAll(async () => {
  await tf.setBackend('cpu');
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const tokens = () =>
  tf.tensor2d(
    [
      [1, 2, 3, 4, 5],
      [6, 7, 8, 0, 0],
    ],
    [2, 5],
    'int32',
  );
const mask = () =>
  tf.tensor2d(
    [
      [1, 1, 1, 1, 1],
      [1, 1, 1, 0, 0],
    ],
    [2, 5],
    'int32',
  );

function largestDifference(a: tf.Tensor, b: tf.Tensor): number {
  expect(a.shape).toEqual(b.shape);
  return tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]!;
}

it('repeats blocks as a deeper encoder with the same weights in each would', () => {
  const repeated = models.encoder({ ...SIZE, numLayers: 2, numRepeats: 2, seed: 1 });
  const deep = models.encoder({ ...SIZE, numLayers: 4, seed: 2 });
  expect(deep.variables.length - deep.embeddingVariables.length).toBe(
    2 * (repeated.variables.length - repeated.embeddingVariables.length),
  );
  deep.embeddingVariables.forEach((variable, i) => {
    variable.assign(repeated.embeddingVariables[i]!);
  });
  const blocks = repeated.variables.slice(repeated.embeddingVariables.length);
  deep.variables.slice(deep.embeddingVariables.length).forEach((variable, i) => {
    variable.assign(blocks[i % blocks.length]!);
  });
  const batch = { tokens: tokens(), mask: mask() };
  const [a, b] = [repeated.encode(batch), deep.encode(batch)];
  expect(a.hidden).toHaveLength(5);
  for (const [i, hidden] of a.hidden.entries()) expect(largestDifference(hidden, b.hidden[i]!)).toBeLessThan(1e-6);
});

it('a bottleneck is a table of rank B', () => {
  const narrow = models.encoder({ ...SIZE, numLayers: 1, bottleneckSize: 3, seed: 1 });
  const full = models.encoder({ ...SIZE, numLayers: 1, seed: 2 });
  const { tokenTable, bottleneck } = narrow.parts;
  expect([tokenTable.shape, bottleneck!.shape]).toEqual([
    [20, 3],
    [3, 8],
  ]);
  full.parts.tokenTable.assign(tf.matMul(tokenTable as tf.Tensor2D, bottleneck as tf.Tensor2D));
  full.variables.slice(1).forEach((variable, i) => {
    variable.assign(narrow.variables[i + 2]!);
  });
  const last = (model: models.Encoder) => model.encode({ tokens: tokens() }).hidden.at(-1)!;
  expect(largestDifference(last(narrow), last(full))).toBeLessThan(1e-5);
});

describe('attention probabilities', () => {
  it.each([
    ['all keys', false, false],
    ['padding', true, false],
    ['causal', false, true],
    ['both', true, true],
  ] as const)('%s: times v they are nn.attention', (_, withMask, causal) => {
    const make = (seed: number) => tf.randomNormal([2, 5, 2, 4], 0, 1, 'float32', seed);
    const [q, k, v] = [make(1), make(2), make(3)];
    // The second sample sees nothing at all under 'padding' and 'both'.
    const seen = {
      causal,
      ...(withMask
        ? {
            mask: tf.tensor2d(
              [
                [1, 0, 1, 1, 0],
                [0, 0, 0, 0, 0],
              ],
              [2, 5],
              'int32',
            ),
          }
        : {}),
    };
    const weights = nn.attentionProbabilities({ q, k, ...seen });
    const mixed = tf.transpose(tf.matMul(weights, tf.transpose(v, [0, 2, 1, 3])), [0, 2, 1, 3]);
    expect(largestDifference(mixed, nn.attention({ q, k, v, ...seen }))).toBeLessThan(1e-5);
    const sums = tf.sum(weights, -1).dataSync();
    for (const sum of sums) expect(Math.min(Math.abs(sum - 1), withMask ? Math.abs(sum) : 1)).toBeLessThan(1e-5);
  });

  it('are returned for the passes asked for, and change nothing else', () => {
    const model = models.encoder({ ...SIZE, numLayers: 3, seed: 3 });
    const batch = { tokens: tokens(), mask: mask() };
    const plain = model.encode(batch);
    const some = model.encode(batch, { attentions: [0, 2] });
    const all = model.encode(batch, { attentions: true });
    expect([plain.attentions.length, some.attentions.length, all.attentions.length]).toEqual([0, 2, 3]);
    expect(largestDifference(some.attentions[1]!, all.attentions[2]!)).toBeLessThan(1e-6);
    expect(largestDifference(plain.hidden[3]!, all.hidden[3]!)).toBeLessThan(1e-5);
    expect(() => nn.attentionProbabilities({ q: tf.ones([1, 2, 2, 4]), k: tf.ones([1, 2, 2, 3]) })).toThrow(
      expect.objectContaining({ code: 'config/invalid' }),
    );
  });
});

it('pools by each definition', () => {
  const layer = (scale: number) =>
    tf.tensor3d(
      Array.from({ length: 12 }, (_, i) => scale * i),
      [2, 3, 2],
    );
  const hidden = [layer(100), layer(1), layer(2), layer(3)];
  const seen = tf.tensor2d(
    [
      [1, 1, 0],
      [1, 1, 1],
    ],
    [2, 3],
    'int32',
  );
  const pooled = (kind: models.Pooling, from = hidden) => [...models.pool(kind, from, seen).dataSync()];
  // Means over tokens of 0..11 laid out [2, 3, 2]: sample 0 over two tokens, sample 1 over three.
  const means = [1, 2, 8, 9];
  expect(pooled('cls')).toEqual([0, 3, 18, 21]);
  expect(pooled('mean')).toEqual(means.map((x) => 3 * x));
  expect(pooled('first-last')).toEqual(means.map((x) => 2 * x));
  expect(pooled('last-two')).toEqual(means.map((x) => 2.5 * x));
  expect([...models.pool('mean', hidden).dataSync()]).toEqual([6, 9, 24, 27]);
  const nothing = tf.zeros([2, 3], 'int32');
  expect([...models.pool('mean', hidden, nothing).dataSync()]).toEqual([0, 0, 0, 0]);
  expect(() => pooled('last-two', hidden.slice(0, 1))).toThrow(expect.objectContaining({ code: 'config/invalid' }));
});

it('drops different elements in different streams, the same in the same', () => {
  const model = models.encoder({ ...SIZE, numLayers: 1, dropout: 0.5, seed: 4 });
  const run = (stream: number) => model.encode({ tokens: tokens() }, { training: true, stream }).hidden[0]!;
  nn.setStep(0, 1);
  expect(largestDifference(run(0), run(0))).toBe(0);
  expect(largestDifference(run(0), run(1))).toBeGreaterThan(0.1);
});

it.each([
  [{ numLayers: 0 }, 'numLayers'],
  [{ bottleneckSize: 0 }, 'bottleneckSize'],
  [{ positionOffset: -1 }, 'positionOffset'],
  [{ epsilon: 0 }, 'epsilon'],
  [{ hiddenSize: 9 }, 'hiddenSize'],
])('refuses %j', (wrong, path) => {
  expect(() => models.encoder({ ...SIZE, numLayers: 1, ...wrong })).toThrow(
    expect.objectContaining({ code: 'config/invalid', path }),
  );
});
