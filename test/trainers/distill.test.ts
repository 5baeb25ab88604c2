/** Distillation: its losses by hand, each stage in every layout, a chain killed and resumed, and data that does not fit together. */
import { readFile, writeFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { chainsOf } from '../../src/trainers/distill/chains.js';
import { distill } from '../../src/trainers/distill/index.js';
import { contrast, cosines, distillation } from '../../src/trainers/distill/losses.js';
import { expectClose, recipeRun } from './recipeRun.js';

const STAGES = ['assistant', 'bottleneck', 'recurrent', 'contrastive'];
const SMALL = [
  'languages=[de]',
  'pairsPerLanguage=128',
  `stages=[${STAGES.map((kind) => `{kind: ${kind}, epochs: 3, learningRate: 3e-3, batchSize: 32}`).join(',')}]`,
  'ablations=false',
  'hiddenSize=16',
  'numHeads=2',
  'assistantLayers=2',
  'bottleneckSize=4',
  'repeat=2',
  'contextLength=8',
];
const { path, run, killed, losses } = recipeRun('distill', SMALL);

/** Parts of the state that hold losses, by stage. */
const PARTS = ['train-assistant', ...STAGES.slice(1).map((_, i) => `train-bottleneck.recurrent.contrastive-${i}`)];

describe('losses', () => {
  const [S, F, T] = [
    [1, 2, 3, -1, 0, 2],
    [0, 1, -2, 1, 1, 1],
    [2, 0, 1, 1, 1, -1],
  ];
  const rows = (values: number[]) => tf.tensor2d(values, [2, 3]);
  const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const cosine = (a: number[], b: number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const row = (values: number[], i: number) => values.slice(3 * i, 3 * i + 3);
  const mse = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length;

  it('are what the paper writes', () => {
    expect(distillation(rows(S!), rows(F!), rows(T!)).dataSync()[0]).toBeCloseTo(mse(S!, T!) + mse(F!, T!), 5);
    const pairs = [0, 1].flatMap((i) => [0, 1].map((j) => [i, j] as const));
    const student = pairs.map(([i, j]) => cosine(row(S!, i), row(F!, j)));
    const teacher = pairs.map(([i, j]) => cosine(row(T!, i), row(T!, j)));
    expect(contrast(rows(S!), rows(F!), rows(T!)).dataSync()[0]).toBeCloseTo(mse(student, teacher), 5);
  });

  it('are 0, with a gradient, where student and teacher agree, and finite at vectors of zeros', () => {
    expect(contrast(rows(T!), rows(T!), rows(T!)).dataSync()[0]).toBeCloseTo(0, 10);
    const gradient = tf.grad((x: tf.Tensor) => tf.sum(cosines(x, rows(T!))))(tf.zeros([2, 3]));
    expect([...gradient.dataSync()].every(Number.isFinite)).toBe(true);
  });
});

it('trains the chain and says what each stage brings', async () => {
  const { figures, tables, plots } = await run('alone');
  expect(tables.spearman!.rows.map(([model]) => model)).toEqual([
    'teacher',
    'assistant',
    'bottleneck',
    'bottleneck+recurrent',
    'bottleneck+recurrent+contrastive',
  ]);
  expect(plots).toEqual(['spearman.svg', 'loss.svg']);
  expect(figures.teacher).toBeGreaterThan(0.5);
  expect(figures.parameterRatio).toBeLessThan(0.7);
  for (const part of PARTS) {
    const steps = await losses('alone', part);
    const sum = (some: readonly number[]): number => some.reduce((total, loss) => total + loss, 0);
    expect(sum(steps.slice(-4)), part).toBeLessThan(sum(steps.slice(0, 4)));
  }
});

async function expectAlike(out: string): Promise<void> {
  for (const part of PARTS) expectClose(await losses(out, part), await losses('alone', part), 1e-5);
}

it('makes the same losses with two replicas', async () => {
  await run('dp2', { dp: 2 });
  await expectAlike('dp2');
});

it('makes the same losses when killed and resumed as a pipeline', async () => {
  await killed('pp2', PARTS[1]!);
  await run('pp2', { pp: 2 }, { resume: true });
  await expectAlike('pp2');
});

it('leaves out one stage at a time', () => {
  const stages = STAGES.slice(1).map((kind) => ({ kind, epochs: 1, learningRate: 1, batchSize: 1 }) as never);
  expect(chainsOf(stages, true).map(({ name }) => name)).toEqual([
    'bottleneck+recurrent+contrastive',
    'recurrent+contrastive',
    'bottleneck+contrastive',
    'contrastive',
  ]);
  expect(chainsOf(stages, false)).toHaveLength(1);
});

describe('refuses before training', () => {
  const FILE = 'stsb-multi-mt/stsb-de-train.csv';
  it.each([
    ['rows of another order', (text: string) => text.split('\n').reverse().join('\n').trim(), /stsb-de-train\.csv/],
    ['a missing row', (text: string) => text.split('\n').slice(1).join('\n'), /stsb-de-train\.csv/],
    ['a column too many', (text: string) => text.replace(/\n/, ',x\n'), /stsb-de-train\.csv:1, column 4/],
    ['a score out of range', (text: string) => text.replace(/[\d.]+\n/, '6\n'), /stsb-de-train\.csv:1, column 3/],
  ])('%s', async (_, spoil, where) => {
    const data = path('bad');
    await distill.data!.sample!(data, distill.config.parse({ languages: ['de'] }), 0);
    await writeFile(path('bad', FILE), spoil(await readFile(path('bad', FILE), 'utf8')));
    await expect(run('refused', {}, { sample: false, data })).rejects.toMatchObject({
      code: 'trainer/data',
      path: expect.stringMatching(where),
    });
  });

  it('a chain that does not begin with the assistant', async () => {
    const stages = 'stages=[{kind: recurrent, epochs: 1, learningRate: 1e-3, batchSize: 8}]';
    await expect(run('chain', {}, { set: [...SMALL, stages] })).rejects.toMatchObject({
      code: 'config/invalid',
      path: 'stages',
    });
  });

  it('data that is not there, saying where to get it', async () => {
    await expect(run('absent', {}, { sample: false, data: path('nowhere') })).rejects.toMatchObject({
      code: 'trainer/data',
      hint: expect.stringContaining('github.com/PhilipMay/stsb-multi-mt'),
    });
  });
});
