/**
 * Layouts that train in 16 bits do so to the bit whether weights are kept rounded or rounded at each use: shards, tied embeddings on two stages,
 * an optimizer in pieces whose weights are gathered, checkpoints read between steps that are graphs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { GPT, syntheticText, trainGpt } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

const SMALL = { numLayers: 2, numHeads: 2, hiddenSize: 32 } as const;
const CARD = { device: 'cuda', threadsPerWorker: 1, precision: 'bf16' } as const;
/** The third is captured. */
const NUM_STEPS = 3;
const folder = mkdtempSync(join(tmpdir(), 'merak-rounded-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

const keeping = (keeps: boolean) => vi.stubEnv('MERAK_ROUNDED_WEIGHTS', keeps ? '' : 'off');

describe('to the bit', () => {
  it.each(
    Object.entries({
      'dp2 with the optimizer in pieces': { dp: 2, shardOptimizer: true },
      'tp2 x pp2, tied embeddings': { tp: 2, pp: 2, microBatches: 2, schedule: '1f1b' },
    } as const),
  )('%s', async (_, layout) => {
    const trained = (keeps: boolean) => {
      keeping(keeps);
      return trainGpt({ ...CARD, ...layout }, SMALL, NUM_STEPS);
    };
    expect(await trained(true)).toEqual(await trained(false));
  });
});

it('restored weights are rounded anew, in steps that are graphs too, and evaluation sees what training left', async () => {
  keeping(true);
  const model = merak.models.gpt({ ...GPT, ...SMALL, numLayers: 1 });
  const parallel = await merak.wrap(model, {
    ...CARD,
    optimizer: tf.train.adam(1e-2),
    seed: 11,
    logDir: 'runs/test',
  });
  const path = join(folder, 'checkpoint');
  const losses: number[][] = [];
  const evaluated: number[] = [];
  try {
    const epoch = async (number: number) => {
      const seen: number[] = [];
      await parallel.fitDataset(syntheticText(NUM_STEPS), {
        epochs: number,
        verbose: 0,
        callbacks: { onBatchEnd: (_, logs) => void seen.push(logs!.loss!) },
      });
      losses.push(seen);
      evaluated.push(Number(await parallel.evaluateDataset(syntheticText(1))));
    };
    await epoch(1);
    await parallel.checkpoint(path);
    for (let again = 0; again < 2; again++) {
      await parallel.restore(path);
      await epoch(2);
    }
  } finally {
    await parallel.close();
    model.dispose();
  }
  expect(losses[1]).toHaveLength(NUM_STEPS);
  expect(losses[2]).toEqual(losses[1]);
  expect(evaluated[2]).toBe(evaluated[1]);
  expect(new Set(losses.flat()).size).toBe(2 * NUM_STEPS);
});
