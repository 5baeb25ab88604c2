/** A sharded optimizer's moments are saved whole: any layout goes on from them, sharded or not. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WrapOptions } from '../../src/index.js';
import * as merak from '../../src/index.js';
import { GPT, maxRelativeDifference, syntheticText } from './training.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merak-sharded-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function steps(
  options: Omit<WrapOptions, 'optimizer'>,
  to: number,
  from?: string,
  into?: string,
): Promise<number[]> {
  const model = merak.models.gpt({ ...GPT, numLayers: 2 });
  const settings = {
    optimizer: tf.train.adam(1e-3),
    clipNorm: 0.5,
    seed: 11,
    logDir: 'runs/test',
    threadsPerWorker: 1,
  };
  const parallel = await merak.wrap(model, { ...settings, ...options });
  const losses: number[] = [];
  try {
    if (from !== undefined) await parallel.restore(from);
    await parallel.fitDataset(syntheticText(), {
      verbose: 0,
      callbacks: { onBatchEnd: (_, logs) => void losses.push(logs!.loss!) },
      stopWhen: (step) => step >= to,
    });
    if (into !== undefined) await parallel.checkpoint(into);
  } finally {
    await parallel.close();
    model.dispose();
  }
  return losses;
}

it('resumes from sharded to whole, and from whole to sharded', async () => {
  const [middle, last] = [join(folder, 'middle'), join(folder, 'last')];
  const expected = await steps({}, 9);
  const begun = await steps({ dp: 2, tp: 2, shardOptimizer: true }, 3, undefined, middle);
  const whole = await steps({ pp: 2, microBatches: 2 }, 6, middle, last);
  const sharded = await steps({ dp: 4, shardOptimizer: true }, 9, last);
  expect(maxRelativeDifference([...begun, ...whole, ...sharded], expected)).toBeLessThan(1e-6);
});
