/** An id that is not in its table ends training with an error that names the node, the step and the micro-batch, as on the processor. */
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import { tokenWindows } from '../../src/data/tokens.js';
import * as merak from '../../src/index.js';
import { GPT } from '../layouts/training.js';
import { useStandIns } from './card.js';

useStandIns();
vi.setConfig({ testTimeout: 300_000 });

it.each(['native', 'cuda'] as const)('%s', async (device) => {
  const model = merak.models.gpt({ ...GPT, numLayers: 1 });
  const optimizer = tf.train.adam(1e-3);
  const parallel = await merak.wrap(model, { optimizer, device, microBatches: 2, logDir: 'runs/test' });
  const text = Int32Array.from({ length: 600 }, (_, i) => (i > 300 ? 999 : i % GPT.vocabularySize));
  const windows = tokenWindows(text, { contextLength: GPT.contextLength, batchSize: 8, numBatches: 3, seed: 1 });
  try {
    const training = parallel.fitDataset(windows, { verbose: 0 });
    await expect(training).rejects.toMatchObject({ code: 'engine/kernel' });
    await expect(training).rejects.toThrow(
      /999.*MerakEmbedding.*step 0, micro-batch \d|MerakEmbedding.*step 0, micro-batch \d.*999/s,
    );
  } finally {
    await parallel.close().catch(() => {});
    model.dispose();
  }
});
