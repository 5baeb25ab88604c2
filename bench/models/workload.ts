/** What every training benchmark is: a model, its data, its optimizer and what counts as work. */
import * as tf from '@tensorflow/tfjs';
import type { BatchSource, HostBatch } from '../../src/data/source.js';
import { nodeFlops } from '../../src/graph/cost.js';
import { isProduct } from '../../src/planner/costs/operatorCosts.js';
import { fieldsOfModel } from '../../src/trace/fields.js';
import type { FieldSpec, FunctionalModel } from '../../src/trace/model.js';
import { traceModel } from '../../src/trace/trace.js';

/** Made on the current backend. */
export interface BuiltModel {
  readonly model: tf.LayersModel | (FunctionalModel & { readonly variables: readonly tf.Variable[]; dispose(): void });
  readonly optimizer: tf.Optimizer;
}

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly unit: 'tokens' | 'images';
  readonly unitsPerSample: number;
  readonly batchSize: number;
  /** Steps of a timed round: about a second or two of one core. */
  readonly stepsPerRound: number;
  readonly fields: readonly FieldSpec[];
  readonly flopsConvention: string;
  /** The marks to reach are about this one. */
  readonly hasMarks?: boolean;
  build(): BuiltModel;
  /** Floating-point operations of training on one unit, by the convention. */
  flopsPerUnit(model: BuiltModel['model']): number;
  /** The `index`-th batch: real text or seeded noise. */
  batch(size: number, index: number): HostBatch;
  /** What bench/torch/train.py needs to make the same model. */
  readonly torch: Readonly<Record<string, number | string>>;
}

export function adam(): tf.Optimizer {
  return tf.train.adam(1e-3, 0.9, 0.95);
}

export const TRANSFORMER_CONVENTION =
  '6 N + 12 L H T per token (N all parameters, L layers, H hidden size, T context; causal attention not halved)';
export const PRODUCTS_CONVENTION =
  '3 x the products and convolutions of the forward pass, 2 per multiplication and addition';

export function transformerFlops(
  variables: readonly tf.Variable[],
  size: { readonly numLayers: number; readonly hiddenSize: number; readonly contextLength: number },
): number {
  const numParameters = variables.reduce((sum, variable) => sum + variable.size, 0);
  return 6 * numParameters + 12 * size.numLayers * size.hiddenSize * size.contextLength;
}

/** By PRODUCTS_CONVENTION, of one sample. */
export function productFlops(model: tf.LayersModel): number {
  const { graph } = traceModel(model, 'evaluate', fieldsOfModel(model), 1);
  return 3 * graph.nodes.reduce((sum, node) => sum + (isProduct(node.kernel) ? nodeFlops(graph, node) : 0), 0);
}

/** Batches of `workload` as Merak's fitDataset takes them; `numBatches` make an epoch. */
export function sourceOf(workload: Workload, batchSize: number, numBatches: number): BatchSource {
  return {
    fields: workload.fields,
    batchSize,
    numBatches,
    batch: async (epoch, index) => (index < numBatches ? workload.batch(batchSize, epoch * numBatches + index) : null),
  };
}

/** Uniform in [0, 1), the same for the same (seed, i) everywhere: a 32-bit mix (lowbias32, Wellons). */
export function noise(seed: number, i: number): number {
  let x = (Math.imul(seed, 0x9e3779b9) + i) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}
