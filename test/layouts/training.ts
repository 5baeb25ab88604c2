/** Trains a small GPT in a given layout and returns everything that must not depend on the layout. */
import * as tf from '@tensorflow/tfjs';
import { tokenWindows } from '../../src/data/tokens.js';
import type { WrapOptions } from '../../src/index.js';
import * as merak from '../../src/index.js';

export interface TrainedRun {
  readonly losses: number[];
  readonly parameters: Map<string, Float32Array>;
}

export const NUM_STEPS = 20;
const CONTEXT_LENGTH = 16;
const BATCH_SIZE = 8;

/** Tied embeddings, dropout on, 5 layers, a vocabulary of 251. */
export const GPT = {
  vocabularySize: 251,
  contextLength: CONTEXT_LENGTH,
  numLayers: 5,
  numHeads: 4,
  hiddenSize: 32,
  dropout: 0.1,
  seed: 7,
} as const;

export async function trainGpt(
  options: Omit<WrapOptions, 'optimizer'>,
  config: Partial<Parameters<typeof merak.models.gpt>[0]> = {},
  numSteps = NUM_STEPS,
): Promise<TrainedRun> {
  const model = merak.models.gpt({ ...GPT, ...config });
  const parallel = await merak.wrap(model, {
    optimizer: tf.train.adam(1e-3),
    clipNorm: 1,
    weightDecay: 0.01,
    seed: 11,
    logDir: 'runs/test',
    ...options,
  });
  const losses: number[] = [];
  try {
    await parallel.fitDataset(syntheticText(numSteps), {
      verbose: 0,
      callbacks: {
        onBatchEnd: (_, logs) => {
          losses.push(logs!.loss!);
        },
      },
    });
  } finally {
    await parallel.close();
  }
  // Names carry a counter when a process builds several models; positions do not change.
  const parameters = new Map(model.variables.map((variable, i) => [String(i), variable.dataSync() as Float32Array]));
  model.dispose();
  return { losses, parameters };
}

/** Tokens with structure to learn: each follows from the two before it, with some noise. */
export function syntheticText(numBatches = NUM_STEPS) {
  const tokens = new Int32Array(4000);
  for (let i = 2; i < tokens.length; i++) tokens[i] = (tokens[i - 1]! * 3 + tokens[i - 2]! + (i % 7)) % 251;
  return tokenWindows(tokens, { contextLength: CONTEXT_LENGTH, batchSize: BATCH_SIZE, numBatches, seed: 5 });
}

export function maxRelativeDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]!) / Math.abs(b[i]!)));
}

export function maxDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Infinity);
}
