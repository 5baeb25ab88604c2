/**
 * No call of a steady step keeps the host until the card is done, however many micro-batches, kernels and collectives it has: the step's end
 * is polled for. Ranks that share a card, whose exchanges pass through the host, do wait; that they are seen to shows that the count counts.
 */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it, vi } from 'vitest';
import * as merak from '../../src/index.js';
import { GPT, syntheticText } from '../layouts/training.js';
import { standInNotes } from '../standin/notes.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

const isCard = process.env.MERAK_TEST_GPU === '1';
if (isCard) console.warn('SKIPPED: waits are counted by the stand-in driver');

/** The third step is captured. */
const [FIRST_STEADY, NUM_STEPS] = [4, 7];

describe.skipIf(isCard)('calls that wait, in steady steps', () => {
  const taken = standInNotes('WAITS');

  async function waits(options: Partial<merak.WrapOptions>): Promise<string[]> {
    const model = merak.models.gpt({ ...GPT, numLayers: 1 });
    const parallel = await merak.wrap(model, {
      optimizer: tf.train.adam(1e-3),
      device: 'cuda',
      threadsPerWorker: 1,
      clipNorm: 1,
      logDir: 'runs/test',
      ...options,
    });
    let steady: string[] = [];
    try {
      await parallel.fitDataset(syntheticText(NUM_STEPS), {
        verbose: 0,
        // Not a callback at batches, which would keep the next one from being sent ahead.
        onStep: (step) => {
          if (step === FIRST_STEADY - 1) taken();
          if (step === NUM_STEPS - 1) steady = taken();
        },
      });
    } finally {
      await parallel.close();
      model.dispose();
    }
    return steady;
  }

  it('one rank, two micro-batches: none', async () => {
    expect(await waits({ microBatches: 2 })).toEqual([]);
  });

  it('replicas over NCCL: none', async () => {
    vi.stubEnv('MERAK_STANDIN_DEVICES', '2');
    expect(await waits({ dp: 2 })).toEqual([]);
  });

  it('replicas on one card: some', async () => {
    expect(await waits({ dp: 2 })).toContain('cuStreamSynchronize');
  });
});
