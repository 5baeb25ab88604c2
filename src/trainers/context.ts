/** What the phases of a recipe are given: configuration, folders, log, and the means to be killed and resumed. */
import type * as tf from '@tensorflow/tfjs';
import type { Logger } from 'pino';
import type { TopLevelSpec } from 'vega-lite';
import type {
  BatchSource,
  FitDatasetOptions,
  History,
  ParallelModel,
  SpmdGroup,
  SpmdOptions,
  UserModel,
  WrapOptions,
} from '../index.js';

export interface TrainerContext<Config = unknown> {
  readonly config: Config;
  /** Keys everything random (flag `--seed`). */
  readonly seed: number;
  readonly data: DataFolder;
  readonly output: OutputFolder;
  /** Lines go to stderr and, as JSON records, to `log.jsonl` in the output folder. */
  readonly log: Logger;
  /** A bar on a terminal, lines elsewhere. */
  progress(label: string, total: number): ProgressBar;
  /** `merak.wrap` under the launch flags and the context's seed; the workers end with the recipe, whatever happens. */
  wrap(model: UserModel, options?: WrapOptions): Promise<ParallelModel>;
  /** `merak.spmd` under the launch flags and the context's seed; it too ends with the recipe. */
  spmd(options?: SpmdOptions): Promise<SpmdGroup>;
  /**
   * `parallel.fitDataset`, checkpointed every `saveEvery` steps under `name`. A resumed run goes on at the last
   * checkpoint with the next batch and the next random numbers.
   */
  fit(name: string, parallel: ParallelModel, source: BatchSource, options?: TrainerFitOptions): Promise<FitResult>;
  /**
   * Runs `body` once in the life of a run. A resumed run that has finished it gets the value it returned, and `keep`
   * loaded with what it held then. For parts that follow each other and for results that are dear.
   */
  stage<Value extends Json>(name: string, body: () => Promise<Value>, keep?: Keep): Promise<Value>;
  /**
   * A loop that is not training by gradients: `step` advances what `keep` holds. Saved every `saveEvery` steps; a resumed
   * run goes on at the last save.
   */
  iterate(name: string, options: IterateOptions): Promise<readonly StepFigures[]>;
}

export interface DataFolder {
  readonly folder: string;
  /** The absolute path of a file under the folder, or of `npm:package/file` where that is installed. @throws MerakError trainer/data: it is absent; how to get it */
  path(file: string): string;
}

/** All writes are atomic: a file is there whole or not at all. */
export interface OutputFolder {
  readonly folder: string;
  /** The absolute path of a file to write; its folder is made. */
  path(file: string): Promise<string>;
  text(file: string, content: string): Promise<void>;
  json(file: string, value: unknown): Promise<void>;
  /** `<name>.md`, and an entry of results.json. Numbers that are not whole show four decimals. */
  table(name: string, table: Table): Promise<void>;
  /** `<name>.svg` from a vega-lite specification, of one's own or by `merak.charts`. */
  plot(name: string, spec: TopLevelSpec): Promise<void>;
}

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** How to read it. */
  readonly notes?: readonly string[];
}

export interface ProgressBar {
  step(count?: number): void;
  done(): void;
}

export interface TrainerFitOptions extends Omit<FitDatasetOptions, 'initialEpoch'> {
  /** Steps between checkpoints. Default: a twentieth of the run, at least 1 (100 where its length is not known). */
  readonly saveEvery?: number;
}

export interface FitResult {
  /** Per epoch that this process trained (a resumed run's first epoch is the rest of one). */
  readonly history: History;
  /** Of every step since the run began, resumed or not. */
  readonly losses: readonly number[];
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type StepFigures = Readonly<Record<string, number>>;

/** State that is saved and loaded with a run: variables, or anything that writes itself to a folder. */
export type Keep = readonly tf.Variable[] | Keeper;

export interface Keeper {
  save(folder: string): Promise<void>;
  load(folder: string): Promise<void>;
}

export interface IterateOptions {
  readonly steps: number;
  readonly keep: Keep;
  /** Default: a twentieth of the steps, at least 1. */
  readonly saveEvery?: number;
  /** Steps from 0. Must depend on `index` and what `keep` holds alone. */
  step(index: number): Promise<StepFigures>;
  /** Ends the loop early. */
  until?(figures: StepFigures, index: number): boolean;
}
