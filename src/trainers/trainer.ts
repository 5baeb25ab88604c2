/** What a training recipe is: a name, a checked configuration, and a function on the public API. */
import type { z } from 'zod';

/** Figures a recipe reports when it is done, by name. */
export type TrainerResult = Readonly<Record<string, number>>;

export interface Trainer<Schema extends z.ZodObject = z.ZodObject> {
  /** What `merak train` calls it. */
  readonly name: string;
  readonly description: string;
  /** Keys with defaults; descriptions give units. */
  readonly config: Schema;
  /** Trains. Everything heavy goes through `wrap`, so the flags of `merak train` lay it out. */
  run(config: z.output<Schema>): Promise<TrainerResult>;
}

/**
 * Types a recipe.
 *
 * @example
 * export default defineTrainer({
 *   name: 'mine',
 *   description: 'what it trains',
 *   config: z.strictObject({ steps: z.number().int().min(1).default(100).describe('training steps') }),
 *   async run({ steps }) { ... return { loss }; },
 * });
 */
export function defineTrainer<Schema extends z.ZodObject>(trainer: Trainer<Schema>): Trainer<Schema> {
  return trainer;
}
