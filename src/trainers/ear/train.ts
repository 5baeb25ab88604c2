/** One variant trained once: the weights of the epoch that is best on the source language's dev set. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs';
import { metrics } from '../../index.js';
import type { TrainerContext } from '../context.js';
import type { EncodedSentences } from '../words/encode.js';
import { trainingBatches } from './batches.js';
import type { EarConfig, Variant } from './config.js';
import type { Labelled } from './data.js';
import type { Classifier } from './model.js';
import type { Prepared } from './prepare.js';

export interface Trained {
  readonly losses: readonly number[];
  /** After every epoch. */
  readonly devAccuracies: readonly number[];
  /** From 0; the first of the best. */
  readonly bestEpoch: number;
}

/** Leaves the chosen weights in the model's variables. */
export function trainVariant(
  context: TrainerContext<EarConfig>,
  prepared: Prepared,
  model: Classifier,
  variant: Variant,
  seed: number,
): Promise<Trained> {
  const { config } = context;
  const name = `${variant.name}-${seed}`;
  const body = async () => {
    const source = trainingBatches(prepared.train, prepared.vocabulary, prepared.synonyms, config, variant, seed);
    const { learningRate, weightDecay, epochs } = config;
    const parallel = await context.wrap(model, {
      optimizer: tf.train.adam(learningRate, 0.9, 0.999, 1e-8),
      clipNorm: 1,
      weightDecay,
      seed,
    });
    const dev = tensors(prepared.encodedDev, config.contextLength);
    const perEpoch = source.numBatches!;
    const record = await context.output.path(`dev/${name}.json`);
    // A run taken up again finds here what earlier epochs gave.
    const accuracies: number[] = existsSync(record) ? JSON.parse(await readFile(record, 'utf8')) : [];
    const folderOf = (epoch: number) => context.output.path(`state/best/${name}-${epoch}`);
    try {
      const { losses } = await context.fit(`train-${name}`, parallel, source, {
        epochs,
        learningRate: (step) => learningRate * (1 - step / (epochs * perEpoch)),
        stepHooks: [
          {
            every: perEpoch,
            async run(step) {
              const epoch = step / perEpoch - 1;
              const logits = (await parallel.predict(dev, { batchSize: config.batchSize })) as tf.Tensor2D;
              accuracies[epoch] = accuracyOf(logits, prepared.dev);
              if (bestOf(accuracies.slice(0, epoch + 1)) === epoch) await parallel.checkpoint(await folderOf(epoch));
              await context.output.json(`dev/${name}.json`, accuracies);
            },
          },
        ],
      });
      const bestEpoch = bestOf(accuracies);
      await parallel.restore(await folderOf(bestEpoch));
      // No step is taken: the weights come back into the model's variables.
      await parallel.fitDataset(source, { stopWhen: () => true, verbose: 0 });
      return { losses, devAccuracies: accuracies, bestEpoch };
    } finally {
      tf.dispose(dev);
      await parallel.close();
    }
  };
  return context.stage(name, body, model.variables);
}

/** The place of the largest, the first of several. */
function bestOf(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

export function tensors({ tokens, mask }: EncodedSentences, length: number): { tokens: tf.Tensor; mask: tf.Tensor } {
  const shape: [number, number] = [tokens.length / length, length];
  return { tokens: tf.tensor2d(tokens, shape, 'int32'), mask: tf.tensor2d(mask, shape, 'int32') };
}

/** Disposes the logits. */
export function accuracyOf(logits: tf.Tensor2D, { labels }: Pick<Labelled, 'labels'>): number {
  const predicted = tf.tidy(() => logits.argMax(1).dataSync());
  logits.dispose();
  return metrics.accuracy(predicted, labels);
}
