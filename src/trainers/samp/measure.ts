/** What a plan of modes costs and brings: accuracy, divergence from the float model, latency, bytes. */
import * as tf from '@tensorflow/tfjs';
import { type Candidate, InferenceModel, type LayerMode, metrics, type Quantiser } from '../../index.js';
import type { SampConfig } from './config.js';
import type { Titles } from './titles.js';

/** Titles as the model takes them. */
export interface Encoded {
  readonly tokens: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
  readonly labels: Int32Array;
}

export interface Measured extends Candidate {
  readonly layerModes: readonly LayerMode[];
  readonly metricError: number;
  /** Mean KL divergence of the float model's class distribution from this one's, in nats. */
  readonly divergence: number;
  readonly bytes: number;
  readonly [key: string]: number | string | readonly string[];
}

/** The modes of all layers when `count` of them, in the configured order, run in `mode`. */
export function modesOf(
  mode: 'ffn' | 'full',
  count: number,
  numLayers: number,
  order: SampConfig['layerOrder'],
): LayerMode[] {
  return Array.from({ length: numLayers }, (_, layer) => {
    const place = order === 'prefix' ? layer : numLayers - 1 - layer;
    return place < count ? mode : 'float';
  });
}

/** Float first, then every mode with 1 to all layers. Latencies are measured with all models in memory, their runs interleaved. */
export async function measurePlans(quantiser: Quantiser, dev: Encoded, config: SampConfig): Promise<Measured[]> {
  const numLayers = quantiser.layers.length;
  const { modes, layerOrder, weightGranularity: granularity, latencyRounds: rounds } = config;
  const counts = Array.from({ length: numLayers }, (_, i) => i + 1);
  const plans = [{ mode: modes[0]!, count: 0 }, ...modes.flatMap((mode) => counts.map((count) => ({ mode, count })))];
  const models: InferenceModel[] = [];
  try {
    const partial: Omit<Measured, 'latencySeconds'>[] = [];
    let float: Float32Array | undefined;
    for (const { mode, count } of plans) {
      const layerModes = modesOf(mode, count, numLayers, layerOrder);
      const model = await quantiser.build(layerModes, { granularity });
      models.push(model);
      const logits = await logitsOf(model, dev);
      float ??= logits;
      const numClasses = logits.length / dev.labels.length;
      partial.push({
        mode,
        numLayers: count,
        layerModes,
        metric: accuracyOf(logits, dev.labels),
        metricError: errorOfDifference(float, logits, dev.labels),
        divergence: meanDivergence(float, logits, numClasses),
        bytes: model.weightBytes,
      });
    }
    const latencies = await InferenceModel.latencies(models, fieldsOf(dev), { rounds });
    return partial.map((one, index) => ({ ...one, latencySeconds: latencies[index]! }) as Measured);
  } finally {
    for (const model of models) model.close();
  }
}

export function encodedTitles(titles: Titles, rows: { tokens: Int32Array; mask: Int32Array }, length: number): Encoded {
  const shape: [number, number] = [titles.texts.length, length];
  return {
    tokens: tf.tensor2d(rows.tokens, shape, 'int32'),
    mask: tf.tensor2d(rows.mask, shape, 'int32'),
    labels: titles.labels,
  };
}

export function fieldsOf({ tokens, mask }: Encoded): Record<string, tf.Tensor> {
  return { tokens, mask };
}

export async function logitsOf(model: InferenceModel, titles: Encoded): Promise<Float32Array> {
  const logits = (await model.predict(fieldsOf(titles))) as tf.Tensor;
  const data = (await logits.data()) as Float32Array;
  logits.dispose();
  return data;
}

export function accuracyOf(logits: Float32Array, labels: Int32Array): number {
  return metrics.accuracy(predictionsOf(logits, labels.length), labels);
}

/** Standard error of the difference of two accuracies on the same rows: only rows that one gets right and the other wrong count (McNemar). */
export function errorOfDifference(a: Float32Array, b: Float32Array, labels: Int32Array): number {
  const [fromA, fromB] = [predictionsOf(a, labels.length), predictionsOf(b, labels.length)];
  const numDiffering = labels.filter((label, row) => (fromA[row] === label) !== (fromB[row] === label)).length;
  return Math.sqrt(numDiffering) / labels.length;
}

function predictionsOf(logits: Float32Array, numRows: number): number[] {
  const numClasses = logits.length / numRows;
  return Array.from({ length: numRows }, (_, row) => {
    const scores = logits.subarray(row * numClasses, (row + 1) * numClasses);
    return scores.reduce((best, score, label) => (score > scores[best]! ? label : best), 0);
  });
}

/** The mean over rows of sum_c p_c (ln p_c - ln q_c), p and q the softmax of `from` and `to`. */
export function meanDivergence(from: Float32Array, to: Float32Array, numClasses: number): number {
  const numRows = from.length / numClasses;
  let sum = 0;
  for (let row = 0; row < numRows; row++) {
    const p = logSoftmax(from.subarray(row * numClasses, (row + 1) * numClasses));
    const q = logSoftmax(to.subarray(row * numClasses, (row + 1) * numClasses));
    sum += p.reduce((total, logP, label) => total + Math.exp(logP) * (logP - q[label]!), 0);
  }
  return sum / numRows;
}

/** In double precision: divergences of 1e-5 are differences of numbers near 1. */
function logSoftmax(logits: Float32Array): number[] {
  const values = Array.from(logits);
  const highest = Math.max(...values);
  const logSum = highest + Math.log(values.reduce((total, value) => total + Math.exp(value - highest), 0));
  return values.map((value) => value - logSum);
}
