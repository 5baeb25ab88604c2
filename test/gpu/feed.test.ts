/**
 * Training whose batches are sent a step ahead, and copied to the card while the step before runs, is to the bit training step by step: a last batch
 * that is smaller, several epochs, replicas, a checkpoint in the middle of an epoch, an error while the next batch is on its way.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

const isCard = process.env.MERAK_TEST_GPU === '1';
const [WIDTH, EPOCHS] = [6, 3];
const SIZES = [8, 8, 4];
/** Counts from 1: in the middle of the second epoch. */
const SAVED_AT = 5;

const folder = mkdtempSync(join(tmpdir(), 'merak-feed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

/** Batches whose values go on from one to the next; `spoilt` holds a NaN. */
const batches = (spoilt = -1) =>
  tf.data.array(
    SIZES.map((size, batch) => {
      const x = tf.sin(tf.add(tf.range(0, size * WIDTH), 100 * batch)).reshape([size, WIDTH]);
      return { x: batch === spoilt ? tf.mul(x, Number.NaN) : x };
    }),
  );

interface Run {
  readonly losses: number[];
  readonly weights: Float32Array;
}

async function train(
  options: Partial<merak.WrapOptions>,
  how: 'ahead' | 'step by step' | 'saves' | 'resumes',
): Promise<Run> {
  const weights = tf.variable(tf.linspace(-1, 1, WIDTH), true);
  const losses: number[] = [];
  const model = ({ x }: Record<string, tf.Tensor>) =>
    tf.mean(tf.square(tf.sub(tf.sum(tf.mul(x!, weights), 1), 1))) as tf.Scalar;
  const parallel = await merak.wrap(model, {
    device: 'cuda',
    threadsPerWorker: 1,
    optimizer: tf.train.adam(0.05),
    logDir: 'runs/test',
    ...options,
  });
  const path = join(folder, 'checkpoint');
  try {
    if (how === 'resumes') await parallel.restore(path);
    await parallel.fitDataset(batches(), {
      epochs: EPOCHS,
      verbose: 0,
      onStep: (_, { loss }) => void losses.push(loss!),
      // With a hook at batches nothing is sent ahead.
      ...(how === 'step by step' && { callbacks: { onBatchEnd: () => {} } }),
      ...(how === 'saves' && { stepHooks: [{ every: SAVED_AT, run: () => parallel.checkpoint(path) }] }),
    });
    return { losses, weights: weights.dataSync() as Float32Array };
  } finally {
    await parallel.close();
  }
}

it.each([
  ['one rank', {}, 1],
  ['one rank, two micro-batches', { microBatches: 2 }, 1],
  ['two replicas on one card', { dp: 2 }, 1],
  ...(isCard ? [] : ([['two replicas over NCCL', { dp: 2 }, 2]] as const)),
] as const)('%s', async (_, layout, numCards) => {
  vi.stubEnv('MERAK_STANDIN_DEVICES', String(numCards));
  const ahead = await train(layout, 'ahead');
  expect(ahead).toEqual(await train(layout, 'step by step'));
  expect(new Set(ahead.losses).size).toBe(EPOCHS * SIZES.length);
});

it('a checkpoint in the middle of an epoch counts the batches of steps, not those that came ahead', async () => {
  const whole = await train({}, 'saves');
  const rest = await train({}, 'resumes');
  expect(rest).toEqual({ losses: whole.losses.slice(SAVED_AT), weights: whole.weights });
});

it('an error while the next batch is on its way ends training as it would', async () => {
  const weights = tf.variable(tf.linspace(-1, 1, WIDTH), true);
  const losses: number[] = [];
  const model = ({ x }: Record<string, tf.Tensor>) => tf.mean(tf.square(tf.mul(x!, weights))) as tf.Scalar;
  const parallel = await merak.wrap(model, { device: 'cuda', optimizer: tf.train.sgd(0.1), logDir: 'runs/test' });
  try {
    const onStep = (_: number, { loss }: Record<string, number>) => void losses.push(loss!);
    const training = parallel.fitDataset(batches(1), { verbose: 0, onStep });
    await expect(training).rejects.toMatchObject({ code: 'engine/nan-loss' });
    expect(losses).toHaveLength(1);
  } finally {
    await parallel.close();
  }
});
