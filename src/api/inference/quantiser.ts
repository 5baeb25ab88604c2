/** merak.quantiser: post-training quantisation of a model's prediction to int8, layer by layer. */
import * as tf from '@tensorflow/tfjs';
import { type ArrayField, gatherRows } from '../../data/arrays.js';
import { hostFields } from '../../data/tensors.js';
import { MerakError } from '../../errors.js';
import { eliminateDeadNodes } from '../../graph/clean.js';
import type { Graph, ValueId } from '../../graph/graph.js';
import { optimizeGraph } from '../../graph/passes/optimize.js';
import { packAttention } from '../../graph/passes/packAttention.js';
import type { LayerMode } from '../../quantisation/allocate.js';
import { type Calibrator, calibrate } from '../../quantisation/calibrators.js';
import { EMPTY, type Histogram, observe } from '../../quantisation/histogram.js';
import { findLayers, type Layer } from '../../quantisation/layers.js';
import type { Product } from '../../quantisation/products.js';
import { quantiseGraph } from '../../quantisation/quantiseGraph.js';
import type { Granularity } from '../../quantisation/weights.js';
import type { ParameterArray } from '../../runtime/device.js';
import type { UserModel } from '../../trace/model.js';
import { traceModel } from '../../trace/trace.js';
import { namedTensors, type TensorInput } from '../inputs.js';
import { batchSizeOf } from './batches.js';
import { openInference } from './engine.js';
import { InferenceModel, type SavedVariant } from './model.js';

export interface QuantiserOptions {
  /** Samples per run of the engine (default 32). */
  readonly batchSize?: number;
  /** Engine threads; default: all of the machine's. */
  readonly threads?: number;
}

export interface CalibrationOptions {
  /** Default 'max'. */
  readonly calibrator?: Calibrator;
  /** Percent of magnitudes that the percentile calibrator keeps (default 99.99). */
  readonly percentile?: number;
}

/** The names of the weights whose products a layer's modes quantise. */
export interface LayerDescription {
  /** Quantised by 'full' only. */
  readonly attention: readonly string[];
  /** Quantised by 'ffn' and by 'full'. */
  readonly feedForward: readonly string[];
}

/**
 * Traces the model's `predict` for samples like those of `sample`; finds its transformer layers by what feeds what.
 *
 * @throws MerakError trace/*, config/invalid
 * @example
 * const quantiser = await merak.quantiser(model, { tokens });
 * await quantiser.calibrate({ tokens: some }, { calibrator: 'entropy' });
 * const quick = await quantiser.build(['full', 'ffn', 'float', 'float']);
 * const { output } = await quick.predict({ tokens });
 */
export async function quantiser(
  model: UserModel,
  sample: TensorInput,
  { batchSize = 32, threads }: QuantiserOptions = {},
): Promise<Quantiser> {
  const { fields } = await hostFields(namedTensors(model, sample));
  const trace = traceModel(
    model,
    'predict',
    fields.map(({ spec }) => spec),
    batchSize,
  );
  const weights = new Map<string, ParameterArray>();
  for (const [index, { name }] of trace.graph.parameters.entries()) {
    const variable = trace.variables[index]!;
    const data = await variable.data();
    weights.set(name, data instanceof Float32Array ? data.slice() : Int32Array.from(data));
  }
  // Attention reads queries, keys and values where a fused projection left them; the split is then dead.
  const graph = eliminateDeadNodes(packAttention(optimizeGraph(trace.graph), 0));
  return new Quantiser(model, graph, weights, threads);
}

/** Made by `merak.quantiser`. */
export class Quantiser {
  private readonly found: readonly Layer[];
  private readonly observed = new Map<ValueId, Histogram>();
  private amax = new Map<ValueId, number>();

  constructor(
    private readonly model: UserModel,
    private readonly graph: Graph,
    private readonly weights: ReadonlyMap<string, ParameterArray>,
    private readonly threads: number | undefined,
  ) {
    this.found = findLayers(graph);
    if (this.found.length === 0) {
      throw new MerakError('config/invalid', 'the model has no layer that could be quantised', {
        hint: 'products of an activation by a weight matrix are: dense layers, projections, feed-forward blocks',
      });
    }
  }

  /** In the order of the model. */
  get layers(): readonly LayerDescription[] {
    const name = ({ weight }: Product): string => this.graph.parameters[weight]!.name;
    return this.found.map(({ attention, feedForward }) => ({
      attention: attention.map(name),
      feedForward: feedForward.map(name),
    }));
  }

  /** Runs the float model over the samples, adding what its products read to what was seen before, and sets the scales from it. */
  async calibrate(samples: TensorInput, options: CalibrationOptions = {}): Promise<void> {
    const sources = [...new Set(this.productsOf(() => 'full').map(({ source }) => source))];
    const outputs = sources.map((value, index) => ({ name: `observed/${index}`, value }));
    const { fields, numSamples } = await hostFields(namedTensors(this.model, samples));
    const graph = { ...this.graph, outputs };
    const engine = await openInference(graph, this.weights, { threads: this.threads });
    const batchSize = batchSizeOf(graph);
    try {
      for (let begin = 0; begin < numSamples; begin += batchSize) {
        // The last batch ends with the last sample: a few samples more are seen twice, and none is made up.
        const first = Math.max(0, Math.min(begin, numSamples - batchSize));
        const rows = Uint32Array.from({ length: batchSize }, (_, i) => Math.min(first + i, numSamples - 1));
        const results = await engine.run(gatherRows(fields, rows).fields);
        outputs.forEach(({ name, value }) => {
          this.observed.set(value, observe(this.observed.get(value) ?? EMPTY, results.get(name)!));
        });
      }
    } finally {
      engine.close();
    }
    this.rescale(options);
  }

  /** Sets the scales anew from what calibration has seen. Raises config/invalid before any calibration. */
  rescale({ calibrator = 'max', percentile = 99.99 }: CalibrationOptions = {}): void {
    if (this.observed.size === 0) throw notCalibrated();
    this.amax = new Map([...this.observed].map(([value, seen]) => [value, calibrate(seen, calibrator, percentile)]));
  }

  /** One mode per layer, in the order of `layers`. All 'float' needs no calibration. Close the model when done with it. */
  async build(
    modes: readonly LayerMode[],
    { granularity = 'channel' }: { readonly granularity?: Granularity } = {},
  ): Promise<InferenceModel> {
    if (modes.length !== this.found.length) {
      throw new MerakError('config/invalid', 'there must be one mode per layer', {
        expected: `${this.found.length} modes`,
        received: `${modes.length}`,
      });
    }
    const products = this.productsOf((layer) => modes[layer]!);
    if (products.length > 0 && this.amax.size === 0) throw notCalibrated();
    const { graph, added } = quantiseGraph(this.graph, {
      products,
      amax: this.amax,
      weight: (parameter) => this.weights.get(this.graph.parameters[parameter]!.name)!,
      granularity,
    });
    const weights = new Map<string, ParameterArray>();
    for (const { name } of graph.parameters) weights.set(name, added.get(name) ?? this.weights.get(name)!);
    const layers = this.layers.map((layer, index) => ({ mode: modes[index]!, ...layer }));
    const variant: SavedVariant = { graph, weights, layers };
    const { model } = this;
    const fieldsOf = (x: TensorInput): Promise<{ fields: ArrayField[]; numSamples: number }> =>
      hostFields(namedTensors(model, x));
    const isLayersModel = model instanceof tf.LayersModel;
    return InferenceModel.open(variant, { fieldsOf, isLayersModel, threads: this.threads });
  }

  private productsOf(modeOf: (layer: number) => LayerMode): Product[] {
    const chosen = this.found.flatMap(({ attention, feedForward }, layer) => {
      const mode = modeOf(layer);
      if (mode === 'float') return [];
      return mode === 'full' ? [...attention, ...feedForward] : feedForward;
    });
    return chosen.sort((a, b) => a.index - b.index);
  }
}

function notCalibrated(): MerakError {
  return new MerakError('config/invalid', 'nothing has been observed yet', {
    hint: 'await quantiser.calibrate(samples) with some hundred training samples first',
  });
}
