/** What a training recipe is: a name, a checked configuration, and four phases on the public API. */
import type { z } from 'zod';
import type { TrainerContext } from './context.js';

/** Figures a recipe reports when it is done, by name. */
export type Figures = Readonly<Record<string, number>>;

/** The paper a recipe follows. */
export interface Paper {
  readonly title: string;
  readonly year?: number;
  /** An arXiv number, a DOI or an address. */
  readonly id: string;
}

/** The files a recipe reads from the data folder. */
export interface DataNeeds<Config = unknown> {
  /** Where the data comes from and under what licence; part of the message when a file is absent. */
  readonly howToGet: string;
  /** Files this configuration reads, relative to the data folder. They are looked for before anything starts. */
  files(config: Config): readonly string[];
  /** Writes a small generated data set of the same form: what `--sample` and the recipe's tests train on. */
  sample?(folder: string, config: Config, seed: number): Promise<void>;
}

/**
 * A recipe. The phases run in the order they stand here; a resumed run goes through them again, and what its context has
 * kept (`fit`, `stage`, `iterate`) is not computed again.
 */
export interface Trainer<Schema extends z.ZodObject = z.ZodObject, Prepared = unknown, Trained = unknown> {
  /** What `merak train` calls it. */
  readonly name: string;
  readonly paper?: Paper;
  readonly description: string;
  /** Keys with defaults; `.meta({ description, unit, paper })` says what they mean and what the paper used. */
  readonly config: Schema;
  readonly data?: DataNeeds<z.output<Schema>>;
  /** Reads and checks the data. Errors in it are raised here, before training starts. */
  prepare(context: TrainerContext<z.output<Schema>>): Promise<Prepared> | Prepared;
  /** Trains, fits or searches. Everything heavy goes through `context.wrap` or `jit`, so that launch flags lay it out. */
  run(context: TrainerContext<z.output<Schema>>, prepared: Prepared): Promise<Trained>;
  /** Measures. Writes tables and plots to `context.output` and returns the headline figures. */
  evaluate(context: TrainerContext<z.output<Schema>>, trained: Trained, prepared: Prepared): Promise<Figures> | Figures;
  /** Writes what is to be used afterwards (weights, vectors, a plan) to `context.output`. */
  export?(context: TrainerContext<z.output<Schema>>, trained: Trained, prepared: Prepared): Promise<void> | void;
}

/**
 * Types a recipe: what `prepare` returns is what `run` is given, and so on.
 *
 * @example
 * export default defineTrainer({
 *   name: 'mine',
 *   description: 'what it trains',
 *   config: z.strictObject({ steps: z.number().int().min(1).default(100).meta({ description: 'training steps' }) }),
 *   prepare: (context) => readFile(context.data.path('text.txt')),
 *   async run(context, bytes) { ... await context.fit('train', parallel, source); return parallel; },
 *   evaluate: async (context, parallel) => ({ loss: ... }),
 * });
 */
export function defineTrainer<Schema extends z.ZodObject, Prepared, Trained>(
  trainer: Trainer<Schema, Prepared, Trained>,
): Trainer<Schema, Prepared, Trained> {
  return trainer;
}
