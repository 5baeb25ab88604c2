/** What `wrap` returns: tfjs's training methods on a model that runs in parallel. */
import * as tf from '@tensorflow/tfjs';
import { CommandDone } from '../config/launch.js';
import { arraySource } from '../data/arrays.js';
import type { BatchSource } from '../data/source.js';
import { hostFields } from '../data/tensors.js';
import { MerakError } from '../errors.js';
import type { Callbacks, History, Logs } from './callbacks.js';
import { type DatasetInput, datasetSource } from './dataset.js';
import { evaluateSource } from './evaluate.js';
import { type LoopOptions, type StepHook, trainingLoop } from './fit.js';
import { namedTensors, type TensorInput } from './inputs.js';
import { predictBatches } from './predict.js';
import { saveModel } from './save.js';
import type { Session } from './session.js';
import { verifyLayout } from './verify.js';

interface TrainOptions {
  /** Passes over the data (default 1). */
  readonly epochs?: number;
  readonly initialEpoch?: number;
  readonly callbacks?: Callbacks;
  /** 0 is silent; 1 (default) shows progress. */
  readonly verbose?: number;
  /** Learning rate by step, instead of the optimizer's own. */
  readonly learningRate?: (step: number) => number;
  /** Asked before each step; true ends training there. */
  readonly stopWhen?: (step: number) => boolean;
  /** Sees the logs of each step as it finishes; steps count from 0 over the whole run. Unlike a callback it holds nothing up. */
  readonly onStep?: (step: number, logs: Readonly<Record<string, number>>) => void;
  /** Run between steps: to save a checkpoint, say, or to evaluate. */
  readonly stepHooks?: readonly StepHook[];
}

/** As tfjs's ModelFitArgs. */
export interface FitOptions extends TrainOptions {
  /** Samples per step over all replicas and micro-batches (default 32). */
  readonly batchSize?: number;
  /** Shuffle each epoch by (seed, epoch) (default true). */
  readonly shuffle?: boolean;
  /** Fraction held out from the end of the data, before shuffling. */
  readonly validationSplit?: number;
  readonly validationData?: readonly [TensorInput, TensorInput] | Readonly<Record<string, tf.Tensor>>;
}

/** As tfjs's ModelFitDatasetArgs. */
export interface FitDatasetOptions extends TrainOptions {
  readonly batchesPerEpoch?: number;
  readonly validationData?: DatasetInput | readonly [TensorInput, TensorInput];
  readonly validationBatches?: number;
}

/**
 * A model trained in parallel. Made by `merak.wrap`.
 *
 * @example
 * const parallel = await merak.wrap(model);
 * await parallel.fit(x, y, { batchSize: 64, epochs: 3 });
 * await parallel.close();
 */
export class ParallelModel {
  constructor(private readonly session: Session) {}

  /** Names of what `evaluate` returns, in order; 'loss' first. */
  get metricsNames(): readonly string[] {
    return this.session.metricsNames;
  }

  /** Trains on tensors. Functional models pass one record of named tensors and no `y`. */
  async fit(x: TensorInput, y: TensorInput, options?: FitOptions): Promise<History>;
  async fit(batch: Readonly<Record<string, tf.Tensor>>, options?: FitOptions): Promise<History>;
  async fit(x: TensorInput, yOrOptions?: TensorInput | FitOptions, maybeOptions?: FitOptions): Promise<History> {
    const isLayers = this.session.model instanceof tf.LayersModel;
    const y = isLayers ? (yOrOptions as TensorInput) : undefined;
    const options = (isLayers ? maybeOptions : (yOrOptions as FitOptions | undefined)) ?? {};
    const { batchSize = 32, shuffle = true, validationSplit = 0, validationData } = options;
    const { seed } = this.session.options;
    const all = await hostFields(namedTensors(this.session.model, x, y));
    if (!(validationSplit >= 0 && validationSplit < 1)) {
      throw new MerakError('config/invalid', 'validationSplit is a fraction of the samples', {
        path: 'fit: validationSplit',
        expected: '0 <= validationSplit < 1',
        received: String(validationSplit),
      });
    }
    const numHeldOut = Math.floor(all.numSamples * validationSplit);
    const numTrained = all.numSamples - numHeldOut;
    const part = (begin: number, end: number) =>
      all.fields.map(({ spec, data }) => {
        const perSample = data.length / all.numSamples;
        return { spec, data: data.subarray(begin * perSample, end * perSample) };
      });
    const source = arraySource(part(0, numTrained), {
      numSamples: numTrained,
      batchSize: Math.min(batchSize, numTrained),
      shuffle,
      seed,
    });
    const ordered = { batchSize, shuffle: false, seed };
    let validation: BatchSource | undefined;
    if (numHeldOut > 0)
      validation = arraySource(part(numTrained, all.numSamples), { ...ordered, numSamples: numHeldOut });
    if (validationData !== undefined) {
      const held = await hostFields(this.namedPair(validationData));
      validation = arraySource(held.fields, { ...ordered, numSamples: held.numSamples });
    }
    return this.train(source, options, validation);
  }

  /** Trains on a tf.data.Dataset of {xs, ys} (tf.layers) or of named tensors (functional), or a Merak BatchSource. */
  async fitDataset(dataset: DatasetInput, options: FitDatasetOptions = {}): Promise<History> {
    const { batchesPerEpoch, validationData, validationBatches } = options;
    const source = await datasetSource(this.session.model, dataset, batchesPerEpoch);
    let validation: BatchSource | undefined;
    if (Array.isArray(validationData)) {
      const held = await hostFields(this.namedPair(validationData as readonly [TensorInput, TensorInput]));
      const { seed } = this.session.options;
      validation = arraySource(held.fields, {
        numSamples: held.numSamples,
        batchSize: source.batchSize,
        shuffle: false,
        seed,
      });
    } else if (validationData !== undefined) {
      validation = await datasetSource(this.session.model, validationData as DatasetInput, validationBatches);
    }
    return this.train(source, options, validation);
  }

  /** Loss and metrics on tensors, as tfjs: one scalar, or one per name in `metricsNames`. */
  async evaluate(
    x: TensorInput,
    y?: TensorInput,
    options: { batchSize?: number } = {},
  ): Promise<tf.Scalar | tf.Scalar[]> {
    const { numSamples, fields } = await hostFields(namedTensors(this.session.model, x, y));
    const { batchSize = 32 } = options;
    const source = arraySource(fields, {
      numSamples,
      batchSize: Math.min(batchSize, numSamples),
      shuffle: false,
      seed: 0,
    });
    return this.scalars(await evaluateSource(this.session, source));
  }

  async evaluateDataset(dataset: DatasetInput, options: { batches?: number } = {}): Promise<tf.Scalar | tf.Scalar[]> {
    const source = await datasetSource(this.session.model, dataset, options.batches);
    return this.scalars(await evaluateSource(this.session, source));
  }

  /** The model's outputs for every sample: a tensor, or several (an array for tf.layers, a record for functional models). */
  async predict(
    x: TensorInput,
    options: { batchSize?: number } = {},
  ): Promise<tf.Tensor | tf.Tensor[] | Record<string, tf.Tensor>> {
    const { numSamples, fields } = await hostFields(namedTensors(this.session.model, x));
    return predictBatches(this.session, fields, numSamples, Math.min(options.batchSize ?? 32, numSamples));
  }

  /** Saves a tf.layers model as tfjs does ('file://folder' works without tfjs-node), a functional one as safetensors. */
  async save(url: string | tf.io.IOHandler): Promise<void> {
    await this.session.pull();
    await saveModel(this.session, url);
  }

  /** Saves everything a later run needs to go on, in any layout. */
  async checkpoint(path: string): Promise<void> {
    await this.session.checkpoint(path);
  }

  /** Loads a checkpoint made in any layout; the next fit goes on where it left off. */
  async restore(path: string): Promise<void> {
    await this.session.restore(path);
  }

  /** Ends the workers and writes the report. */
  async close(): Promise<void> {
    await this.session.close();
  }

  private async train(
    source: BatchSource,
    options: TrainOptions,
    validation: BatchSource | undefined,
  ): Promise<History> {
    const { epochs = 1, initialEpoch = 0, callbacks, verbose = 1, learningRate, stopWhen, onStep, stepHooks } = options;
    await this.serveCommand(source);
    await this.session.start(source);
    const validate =
      validation === undefined ? undefined : (): Promise<Logs> => evaluateSource(this.session, validation);
    const loop: LoopOptions = {
      epochs,
      initialEpoch,
      callbacks,
      verbose,
      learningRate,
      stopWhen,
      validate,
      onStep,
      stepHooks: stepHooks ?? [],
    };
    const history = await trainingLoop(this.session, source, loop);
    await this.session.finishTraining();
    return history;
  }

  /** `merak plan` and `merak verify` take over where training would begin, and end the script there. */
  private async serveCommand(source: BatchSource): Promise<void> {
    const { launch, report } = this.session;
    if (launch === undefined || launch.mode === 'launch') return;
    let exitCode = 0;
    if (launch.mode === 'plan') {
      const { cluster, show } = launch.planning ?? {};
      const outcome =
        cluster === undefined ? await this.session.outcome(source) : this.session.planFor(source, cluster);
      report.data.plan = outcome.data;
      if (show === undefined) process.stdout.write(`${outcome.text}\n`);
      else await show(outcome);
    } else if (!(await verifyLayout(this.session, source, launch.verifySteps ?? 20))) {
      exitCode = 1;
    }
    await this.session.close();
    throw new CommandDone(exitCode);
  }

  private namedPair(
    data: readonly [TensorInput, TensorInput] | Readonly<Record<string, tf.Tensor>>,
  ): Map<string, tf.Tensor> {
    const { model } = this.session;
    return Array.isArray(data)
      ? namedTensors(model, data[0], data[1])
      : namedTensors(model, data as Record<string, tf.Tensor>);
  }

  private scalars(logs: Logs): tf.Scalar | tf.Scalar[] {
    const scalars = this.metricsNames.map((name) => tf.scalar(logs[name]!));
    return scalars.length === 1 ? scalars[0]! : scalars;
  }
}
