/** Runs a recipe's phases over its folders: what `merak train` does. */
import { join } from 'node:path';
import type { z } from 'zod';
import { type OptionsInput, spmd, wrap } from '../../index.js';
import type { TrainerContext } from '../context.js';
import { openOutput } from '../output/folder.js';
import { describeRun, type Results } from '../output/results.js';
import type { Trainer } from '../trainer.js';
import { openDataFolder } from './dataFolder.js';
import { resumableFit } from './fit.js';
import { resumableIterate } from './iterate.js';
import { openLog, openProgress } from './log.js';
import { openRunState } from './runState.js';

export interface RunOptions {
  /** Where the data lies; default: the working directory. */
  readonly data?: string;
  /** Where everything is written; default: runs/<name>. */
  readonly out?: string;
  readonly resume?: boolean;
  /** Trains on the recipe's generated sample instead of `data`. */
  readonly sample?: boolean;
  readonly seed?: number;
  /** Layout flags, for the record; they act through the launch context. */
  readonly flags?: OptionsInput;
  /** Prints nothing. */
  readonly quiet?: boolean;
}

/**
 * @param config the recipe's configuration, parsed
 * @throws MerakError trainer/data, trainer/resume, and whatever the recipe raises
 */
export async function runTrainer<Schema extends z.ZodObject, Prepared, Trained>(
  trainer: Trainer<Schema, Prepared, Trained>,
  config: z.output<Schema>,
  options: RunOptions = {},
): Promise<Results> {
  const { out = join('runs', trainer.name), resume = false, sample = false, seed = 0, quiet = false } = options;
  const began = performance.now();
  // Before anything is trained: what lies in the repository at the end may no longer be what ran.
  const described = await describeRun();
  const output = openOutput(out);
  const dataFolder = sample ? join(output.folder, 'sample') : (options.data ?? '.');
  if (sample) await trainer.data?.sample?.(dataFolder, config, seed);
  const data = openDataFolder(dataFolder, trainer.data?.howToGet ?? '');
  for (const file of trainer.data?.files(config) ?? []) data.path(file);
  const state = await openRunState(join(output.folder, 'state'), { trainer: trainer.name, config, seed }, resume);
  const log = openLog(output.folder, trainer.name, quiet);
  const opened: { close(): Promise<void> }[] = [];
  const context: TrainerContext<z.output<Schema>> = {
    config,
    seed,
    data,
    output,
    log,
    progress: (label, total) => openProgress(log, label, total, quiet),
    async wrap(model, wrapOptions = {}) {
      const parallel = await wrap(model, { seed, ...wrapOptions });
      opened.push(parallel);
      return parallel;
    },
    async spmd(spmdOptions = {}) {
      const group = await spmd({ seed, ...spmdOptions });
      opened.push(group);
      return group;
    },
    fit: (name, parallel, source, fitOptions) =>
      resumableFit(state.snapshots(name), parallel, source, { verbose: quiet ? 0 : 1, ...fitOptions }),
    stage: state.stage,
    iterate: (name, iterateOptions) => resumableIterate(state.snapshots(name), iterateOptions),
  };
  try {
    const prepared = await trainer.prepare(context);
    const trained = await trainer.run(context, prepared);
    const figures = await trainer.evaluate(context, trained, prepared);
    await trainer.export?.(context, trained, prepared);
    const results: Results = {
      trainer: trainer.name,
      ...described,
      seconds: (performance.now() - began) / 1000,
      seed,
      config,
      flags: { ...options.flags },
      figures,
      tables: Object.fromEntries(output.tables),
      plots: output.plots,
    };
    await output.json('results.json', results);
    await state.finish();
    return results;
  } finally {
    for (const one of opened) await one.close();
  }
}
