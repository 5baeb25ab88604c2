/** `merak train language-model`: a byte-level GPT on any text file, with held-out validation. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { charts, data, models } from '../../index.js';
import { defineTrainer } from '../trainer.js';
import { sampleText } from './sampleText.js';

const count = z.number().int().min(1);
const NUM_VALIDATION_BATCHES = 12;

const config = z.strictObject({
  text: z
    .string()
    .default('text.txt')
    .meta({ description: 'text file in the data folder; its last tenth is held out' }),
  numLayers: count.default(6).meta({ description: 'transformer blocks' }),
  numHeads: count.default(6).meta({ description: 'attention heads of a block' }),
  hiddenSize: count.default(384).meta({ description: 'width of the residual stream' }),
  contextLength: count.default(64).meta({ description: 'what the model looks back on', unit: 'bytes' }),
  dropout: z.number().min(0).max(0.9).default(0).meta({ description: 'rate on embeddings and residual branches' }),
  batchSize: count.default(8).meta({ description: 'a step takes so many', unit: 'windows' }),
  steps: count.default(1000).meta({ description: 'length of the training', unit: 'steps' }),
  warmUp: z.number().int().min(0).default(20).meta({ description: 'rising learning rate', unit: 'steps' }),
  learningRate: z.number().positive().default(1e-3).meta({
    description: 'peak of the learning rate (AdamW); falls linearly to a twentieth',
  }),
});

export const languageModel = defineTrainer({
  name: 'language-model',
  description: 'a byte-level GPT on a text file',
  config,
  data: {
    howToGet: 'any file of text will do, such as a book from gutenberg.org (--set text=FILE)',
    files: ({ text }) => [text],
    sample: async (folder, { text }, seed) => sampleText(join(folder, text), seed),
  },
  async prepare({ config: { text, contextLength, batchSize, steps }, data: folder, seed }) {
    const bytes = await readFile(folder.path(text));
    const split = Math.floor(bytes.length * 0.9);
    const windows = (part: Uint8Array, numBatches: number, streamSeed: number) =>
      data.tokenWindows(part, { contextLength, batchSize, numBatches, seed: streamSeed });
    return {
      training: windows(bytes.subarray(0, split), steps, seed),
      held: windows(bytes.subarray(split), NUM_VALIDATION_BATCHES, seed + 1),
    };
  },
  async run(context, { training }) {
    const { contextLength, numLayers, numHeads, hiddenSize, dropout, steps, warmUp, learningRate } = context.config;
    const model = models.gpt({
      vocabularySize: 256,
      contextLength,
      numLayers,
      numHeads,
      hiddenSize,
      dropout,
      seed: context.seed,
    });
    const optimizer = tf.train.adam(learningRate, 0.9, 0.95);
    const parallel = await context.wrap(model, { optimizer, clipNorm: 1, weightDecay: 0.1 });
    const { losses } = await context.fit('train', parallel, training, {
      learningRate: (step) => learningRate * Math.min(1, (step + 1) / (warmUp + 1)) * (1 - (0.95 * step) / steps),
    });
    return { parallel, losses };
  },
  async evaluate({ output }, { parallel, losses }, { held }) {
    const validation = (await parallel.evaluateDataset(held)) as tf.Scalar;
    await output.plot(
      'loss',
      charts.lines({
        title: 'Training loss',
        x: 'step',
        y: 'nats per byte',
        series: [{ name: 'training', x: losses.map((_, step) => step), y: losses }],
      }),
    );
    return { loss: losses.at(-1)!, validationLoss: validation.dataSync()[0]! };
  },
  async export({ output }, { parallel }) {
    await parallel.save(await output.path('model.safetensors'));
  },
});
