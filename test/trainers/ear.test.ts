/** EAR: its losses, their signs and gradients; synonym expansion; alike in every layout, killed and resumed; bad tweets refused. */
import { readFile, writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { ear } from '../../src/trainers/ear/index.js';
import { attentionPull, crossEntropy, earLoss, embeddingPush, type Stream } from '../../src/trainers/ear/losses.js';
import { perturb } from '../../src/trainers/ear/synonyms.js';
import { expectClose, recipeRun } from './recipeRun.js';

const SMALL = [
  'languages=[german, french]',
  'parallel=[en, de]',
  'seeds=1',
  'copies=1',
  'epochs=3',
  'numLayers=2',
  'numHeads=2',
  'hiddenSize=16',
  'contextLength=10',
  'batchSize=16',
  'learningRate=3e-3',
];
const { path, run, killed, losses } = recipeRun('ear', SMALL);
const VARIANTS = ['plain', 'robust', 'full'];

describe('losses', () => {
  const stream = (seed: number): Stream => ({
    logits: tf.randomNormal([2, 3], 0, 1, 'float32', seed),
    embedded: tf.randomNormal([2, 4, 5], 0, 1, 'float32', seed + 1),
    attention: tf.softmax(tf.randomNormal([2, 2, 4, 4], 0, 1, 'float32', seed + 2)),
    mask: tf.tensor2d([1, 1, 1, 0, 1, 1, 0, 0], [2, 4], 'int32'),
  });
  const [a, b] = [stream(1), stream(7)];
  const labels = tf.tensor1d([2, 0], 'int32');
  const value = (x: tf.Tensor): number => x.dataSync()[0]!;

  it('push is minus the mean square of mean embeddings over tokens that are none of padding', () => {
    const means = [a, b].map(({ embedded }) => {
      const all = embedded.arraySync() as number[][][];
      return [3, 2].map((length, i) =>
        [0, 1, 2, 3, 4].map((k) => all[i]!.slice(0, length).reduce((sum, token) => sum + token[k]!, 0) / length),
      );
    });
    let sum = 0;
    for (let i = 0; i < 2; i++) for (let k = 0; k < 5; k++) sum += (means[0]![i]![k]! - means[1]![i]![k]!) ** 2;
    expect(value(embeddingPush(a, b))).toBeCloseTo(-sum / 10, 5);
  });

  it('pull is the mean square of two maps of attention; both are 0 where the streams agree', () => {
    const [x, y] = [a, b].map(({ attention }) => attention!.dataSync<'float32'>());
    const expected = x!.reduce((sum, p, i) => sum + (p - y![i]!) ** 2, 0) / x!.length;
    expect(value(attentionPull(a.attention!, b.attention!))).toBeCloseTo(expected, 6);
    expect(value(attentionPull(a.attention!, a.attention!))).toBe(0);
    expect(Math.abs(value(embeddingPush(a, a)))).toBe(0);
  });

  it('add up as L_ce + L_rb + alpha L_ep + beta L_ap, each with its switch', () => {
    const task = value(crossEntropy(a.logits, labels));
    const robust = value(crossEntropy(b.logits, labels));
    const push = value(embeddingPush(a, b));
    const pull = value(attentionPull(a.attention!, b.attention!));
    const logits = a.logits.arraySync() as number[][];
    const nats = [2, 0].map(
      (label, i) => Math.log(logits[i]!.reduce((sum, x) => sum + Math.exp(x), 0)) - logits[i]![label]!,
    );
    expect(task).toBeCloseTo((nats[0]! + nats[1]!) / 2, 5);
    const of = (...on: string[]): number => {
      const switches = Object.fromEntries(['robust', 'push', 'pull'].map((name) => [name, on.includes(name)]));
      return value(
        earLoss(a, b, labels, { alpha: 0.1, beta: 2, ...(switches as Record<'robust' | 'push' | 'pull', boolean>) })
          .loss,
      );
    };
    expect(of()).toBeCloseTo(task, 5);
    expect(of('robust')).toBeCloseTo(task + robust, 5);
    expect(of('push')).toBeCloseTo(task + 0.1 * push, 5);
    expect(of('pull')).toBeCloseTo(task + 2 * pull, 5);
    expect(of('robust', 'push', 'pull')).toBeCloseTo(task + robust + 0.1 * push + 2 * pull, 5);
  });

  it('descending push moves mean embeddings apart, descending pull brings maps together', () => {
    const mean = (x: tf.Tensor): tf.Tensor => tf.sum(tf.square(tf.sub(x, b.embedded)));
    const away = tf.grad((x: tf.Tensor) => embeddingPush({ embedded: x, mask: a.mask }, b))(a.embedded);
    const distance = (x: tf.Tensor): number => -value(embeddingPush({ embedded: x, mask: a.mask }, b));
    expect(distance(tf.sub(a.embedded, away))).toBeGreaterThan(distance(a.embedded));
    expect(value(mean(a.embedded))).toBeGreaterThan(0);
    const towards = tf.grad((x: tf.Tensor) => attentionPull(x, b.attention!))(a.attention!);
    const next = tf.sub(a.attention!, towards);
    expect(value(attentionPull(next, b.attention!))).toBeLessThan(value(attentionPull(a.attention!, b.attention!)));
  });
});

describe('synonym expansion', () => {
  const synonyms = new Map([['good', ['fine', 'great']]]);
  const draws = Array.from({ length: 3000 }, (_, index) =>
    perturb(['a', 'good', 'day'], synonyms, { seed: 3, index, rate: 1 }).join(' '),
  );

  it('draws the word and its neighbours alike, keeps the others, and the same for the same keys', () => {
    const counts = ['good', 'fine', 'great'].map((word) => draws.filter((text) => text === `a ${word} day`).length);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(3000);
    // Six standard deviations of a binomial count are 155.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(155);
    expect(perturb(['good'], synonyms, { seed: 3, index: 0, rate: 0 })).toEqual(['good']);
    expect(perturb(['a', 'good', 'day'], synonyms, { seed: 3, index: 11, rate: 1 }).join(' ')).toBe(draws[11]);
  });
});

it('learns from the source alone', async () => {
  const { figures, tables, plots } = await run('alone');
  expect(tables.accuracy!.columns).toEqual([
    'variant',
    'english',
    'german',
    'french',
    'displaced 0.6',
    'displaced 1',
    'mean without english',
    'english dev',
  ]);
  expect(tables.accuracy!.rows.map(([name]) => name)).toEqual(VARIANTS);
  expect(plots).toEqual(['accuracy.svg', 'loss.svg']);
  // A third by chance.
  expect(figures.robustSource).toBeGreaterThan(0.5);
});

async function expectAlike(out: string): Promise<void> {
  for (const variant of VARIANTS) {
    const part = `train-${variant}-0`;
    expectClose(await losses(out, part), await losses('alone', part), 1e-5);
  }
  const [expected, received] = await Promise.all(
    ['alone', out].map(async (one) => JSON.parse(await readFile(path(one, 'results.json'), 'utf8'))),
  );
  expect(received.tables.accuracy.rows).toEqual(expected.tables.accuracy.rows);
}

it('makes the same losses and accuracies with two replicas', async () => {
  await run('dp2', { dp: 2 });
  await expectAlike('dp2');
});

it('makes them when killed and resumed as a pipeline', async () => {
  await killed('pp2', 'train-robust-0');
  await run('pp2', { pp: 2 }, { resume: true });
  await expectAlike('pp2');
});

describe('refuses before training', () => {
  const LABELS = 'xlmt-sentiment/german-test-labels.txt';
  it.each([
    [
      'an unknown label',
      LABELS,
      (text: string) => text.replace(/^.*\n.*\n/, '0\npositive\n'),
      /labels\.txt:2, column 1/,
    ],
    ['a label too few', LABELS, (text: string) => text.split('\n').slice(1).join('\n'), /labels\.txt:48$/],
    ['an empty file', 'xlmt-sentiment/english-train-text.txt', () => '', /english-train-text\.txt$/],
    ['synonyms that are no list', 'synonyms/counterfitted_neighbors.json', () => '{"a": "b"}', /entry 'a'$/],
    ['synonyms that are not JSON', 'synonyms/counterfitted_neighbors.json', () => '{"a"', /neighbors\.json$/],
  ])('%s', async (_, file, spoil, where) => {
    const data = path('bad');
    const config = ear.config.parse({ languages: ['german', 'french'], parallel: ['en', 'de'] });
    await ear.data!.sample!(data, config, 0);
    await writeFile(path('bad', file), spoil(await readFile(path('bad', file), 'utf8')));
    await expect(run('refused', {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(where),
    });
  });

  it('data that is not there, saying where to get it', async () => {
    await expect(run('absent', {}, { sample: false, data: path('nowhere') })).rejects.toMatchObject({
      code: 'trainer/data',
      hint: expect.stringContaining('github.com/cardiffnlp/xlm-t'),
    });
  });
});
