/** The model, data and optimizer that the training benchmarks share: those of examples/gpt. */
import * as tf from '@tensorflow/tfjs';
import { loadMobyDick } from '../examples/gpt/text.js';
import * as merak from '../src/index.js';

export const contextLength = 128;
export const batchSize = 8;
const numLayers = 6;
const hiddenSize = 384;

export function makeModel(): merak.models.Gpt {
  return merak.models.gpt({ vocabularySize: 256, contextLength, numLayers, numHeads: 6, hiddenSize, seed: 1 });
}

export const FLOPS_CONVENTION =
  '6 N + 12 L H T per token (N all parameters, L layers, H hidden size, T context; causal attention not halved)';

export function flopsPerToken(model: merak.models.Gpt): number {
  const numParameters = model.variables.reduce((sum, variable) => sum + variable.size, 0);
  return 6 * numParameters + 12 * numLayers * hiddenSize * contextLength;
}

export function makeOptimizer(): tf.Optimizer {
  return tf.train.adam(1e-3, 0.9, 0.95);
}

export function windows(numBatches: number): merak.BatchSource {
  return merak.data.tokenWindows(loadMobyDick().train, { contextLength, batchSize, numBatches, seed: 1 });
}

export interface Timed {
  readonly stepSeconds: number;
  readonly loss: number;
  readonly flopsPerToken: number;
}
