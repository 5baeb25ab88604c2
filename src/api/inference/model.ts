/** A model ready to predict in this process: float, or in part int8. */
import * as tf from '@tensorflow/tfjs';
import { type ArrayField, gatherRows } from '../../data/arrays.js';
import type { Graph } from '../../graph/graph.js';
import type { LayerMode } from '../../quantisation/allocate.js';
import type { ParameterArray } from '../../runtime/device.js';
import type { TensorInput } from '../inputs.js';
import { batchSizeOf, runBatches } from './batches.js';
import { type InferenceEngine, openInference, weightBytes } from './engine.js';
import { type LatencyOptions, measureLatencies } from './latency.js';
import { type SaveOptions, saveInference } from './saved.js';

export interface LayerPlan {
  readonly mode: LayerMode;
  readonly attention: readonly string[];
  readonly feedForward: readonly string[];
}

/** What a saved model holds. */
export interface SavedVariant {
  readonly graph: Graph;
  readonly weights: ReadonlyMap<string, ParameterArray>;
  readonly layers: readonly LayerPlan[];
}

interface Inputs {
  readonly fieldsOf: (x: TensorInput) => Promise<{ fields: ArrayField[]; numSamples: number }>;
  readonly isLayersModel: boolean;
  readonly threads: number | undefined;
}

/** Made by `Quantiser.build`. */
export class InferenceModel {
  private constructor(
    private readonly variant: SavedVariant,
    private readonly inputs: Inputs,
    private readonly engine: InferenceEngine,
  ) {}

  static async open(variant: SavedVariant, inputs: Inputs): Promise<InferenceModel> {
    return new InferenceModel(variant, inputs, await openInference(variant.graph, variant.weights, inputs));
  }

  get layers(): readonly LayerPlan[] {
    return this.variant.layers;
  }

  /** Bytes of all weights as they are stored. */
  get weightBytes(): number {
    return weightBytes(this.variant.graph);
  }

  /** The outputs for every sample, in the form `ParallelModel.predict` gives them. */
  async predict(x: TensorInput): Promise<tf.Tensor | tf.Tensor[] | Record<string, tf.Tensor>> {
    const { fields, numSamples } = await this.inputs.fieldsOf(x);
    const results = await runBatches(this.engine, this.variant.graph, fields, numSamples);
    const tensors = results.map(({ name, sampleShape, dtype, data }): [string, tf.Tensor] => [
      name,
      tf.tensor(data, [numSamples, ...sampleShape], dtype),
    ]);
    if (tensors.length === 1) return tensors[0]![1];
    return this.inputs.isLayersModel ? tensors.map(([, tensor]) => tensor) : Object.fromEntries(tensors);
  }

  /** Seconds by kernel since the model was built. */
  kernelTimes(): ReturnType<InferenceEngine['kernelTimes']> {
    return this.engine.kernelTimes();
  }

  /** Writes a folder that `merak predict` serves. */
  async save(folder: string, options: SaveOptions = {}): Promise<void> {
    await saveInference(folder, this.variant, options);
  }

  close(): void {
    this.engine.close();
  }

  /** Median seconds per batch of several models built from one quantiser, their runs interleaved, on the first samples of `x`. */
  static async latencies(
    models: readonly InferenceModel[],
    x: TensorInput,
    options?: LatencyOptions,
  ): Promise<number[]> {
    const [first] = models;
    if (first === undefined) return [];
    const { fields, numSamples } = await first.inputs.fieldsOf(x);
    const rows = Uint32Array.from({ length: batchSizeOf(first.variant.graph) }, (_, i) => i % numSamples);
    const batch = gatherRows(fields, rows).fields;
    return measureLatencies(
      models.map(({ engine }) => engine),
      batch,
      options,
    );
  }
}
