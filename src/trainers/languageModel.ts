/** `merak train language-model`: a byte-level GPT on any text file, with held-out validation and a checkpoint. */
import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { data, MerakError, models, wrap } from '../index.js';
import { defineTrainer } from './trainer.js';

const count = z.number().int().min(1);
const NUM_VALIDATION_BATCHES = 12;

const config = z.strictObject({
  text: z.string().describe('path of a text file; its last tenth is held out'),
  checkpoint: z.string().optional().describe('folder the trained model is saved in'),
  numLayers: count.default(6).describe('transformer blocks'),
  numHeads: count.default(6).describe('attention heads of a block'),
  hiddenSize: count.default(384).describe('width of the residual stream'),
  contextLength: count.default(64).describe('bytes the model looks back on'),
  dropout: z.number().min(0).max(0.9).default(0).describe('rate on embeddings and residual branches'),
  batchSize: count.default(8).describe('windows of a step'),
  steps: count.default(1000).describe('training steps'),
  warmUp: z.number().int().min(0).default(20).describe('steps of rising learning rate'),
  learningRate: z
    .number()
    .positive()
    .default(1e-3)
    .describe('peak of the learning rate (Adam); falls linearly to a twentieth'),
  seed: z.number().int().min(0).default(1).describe('of weights, windows and dropout'),
});

export const languageModel = defineTrainer({
  name: 'language-model',
  description: 'a byte-level GPT on a text file',
  config,
  async run(options) {
    const { contextLength, batchSize, steps, warmUp, learningRate, seed, numLayers, numHeads, hiddenSize, dropout } =
      options;
    const bytes = await readFile(options.text).catch((cause: unknown) => {
      throw new MerakError('config/invalid', 'the text cannot be read', { path: `text: ${options.text}`, cause });
    });
    const split = Math.floor(bytes.length * 0.9);
    const windows = (text: Uint8Array, numBatches: number, streamSeed: number) =>
      data.tokenWindows(text, { contextLength, batchSize, numBatches, seed: streamSeed });
    const model = models.gpt({ vocabularySize: 256, contextLength, numLayers, numHeads, hiddenSize, dropout, seed });
    const parallel = await wrap(model, {
      optimizer: tf.train.adam(learningRate, 0.9, 0.95),
      clipNorm: 1,
      weightDecay: 0.1,
      seed,
    });
    try {
      const history = await parallel.fitDataset(windows(bytes.subarray(0, split), steps, seed), {
        learningRate: (step) => learningRate * Math.min(1, (step + 1) / (warmUp + 1)) * (1 - (0.95 * step) / steps),
      });
      const held = windows(bytes.subarray(split), NUM_VALIDATION_BATCHES, seed + 1);
      const validation = (await parallel.evaluateDataset(held)) as tf.Scalar;
      if (options.checkpoint !== undefined) await parallel.checkpoint(options.checkpoint);
      return { loss: history.history.loss!.at(-1)!, validationLoss: validation.dataSync()[0]! };
    } finally {
      await parallel.close();
    }
  },
});
