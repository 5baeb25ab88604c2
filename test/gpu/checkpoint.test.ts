/** What was trained on a card goes on elsewhere: checkpoints name no device. On the stand-in card, or on a real one (`npm run gpu`). */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { GPT, maxRelativeDifference, syntheticText } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

type Device = 'cuda' | 'native';
const folder = mkdtempSync(join(tmpdir(), 'merak-checkpoint-'));

/** Trains one epoch of two steps after another on these devices, a checkpoint between them; the losses of all steps. */
async function trainOn(devices: readonly Device[]): Promise<number[]> {
  const losses: number[] = [];
  const path = join(folder, devices.join('-'));
  for (const [epoch, device] of devices.entries()) {
    const model = merak.models.gpt({ ...GPT, numLayers: 1, numHeads: 2 });
    const parallel = await merak.wrap(model, {
      device,
      optimizer: tf.train.adam(1e-3),
      seed: 11,
      threadsPerWorker: 1,
      logDir: 'runs/test',
    });
    try {
      if (epoch > 0) await parallel.restore(path);
      await parallel.fitDataset(syntheticText(2), {
        epochs: epoch + 1,
        verbose: 0,
        callbacks: {
          onBatchEnd: (_, logs) => {
            losses.push(logs!.loss!);
          },
        },
      });
      await parallel.checkpoint(path);
    } finally {
      await parallel.close();
      model.dispose();
    }
  }
  return losses;
}

let onProcessor: number[];
beforeAll(async () => {
  onProcessor = await trainOn(['native', 'native']);
});

it.each([
  ['cuda', 'native'],
  ['native', 'cuda'],
] as const)('from %s to %s: weights, moments and random numbers go on as they were', async (...devices) => {
  const losses = await trainOn(devices);
  expect(losses).toHaveLength(4);
  expect(maxRelativeDifference(losses, onProcessor)).toBeLessThan(1e-5);
  // Moments and updates that were lost would leave the same losses for one step only.
  expect(new Set(losses).size).toBe(4);
});
