/** `merak trainers` and `merak train <name>`: recipes that ship with Merak, and the user's own. */
import { setLaunchContext } from '../config/launch.js';
import type { OptionsInput } from '../config/schema.js';
import { MerakError } from '../errors.js';
import { cellText, markdownTable } from '../trainers/output/markdown.js';
import type { Results } from '../trainers/output/results.js';
import { TRAINERS, trainerByName } from '../trainers/registry.js';
import { runTrainer } from '../trainers/run/runTrainer.js';
import type { Trainer } from '../trainers/trainer.js';
import { describeTrainer, describeTrainers } from './describeTrainer.js';
import { loadPlugin } from './plugin.js';
import { readTrainerConfig } from './trainConfig.js';

/** The command's own flags, beside those of the layout. */
export interface TrainSettings {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly data?: string;
  readonly out?: string;
  readonly plugin?: string;
  readonly resume?: boolean;
  readonly sample?: boolean;
  /** Prints nothing. */
  readonly quiet?: boolean;
}

/** Prints the recipes, or one recipe's configuration. */
export async function listTrainers(name: string | undefined, plugin: string | undefined): Promise<void> {
  const trainers = await allTrainers(plugin);
  const lines = name === undefined ? describeTrainers(trainers) : describeTrainer(trainerByName(name, trainers));
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Runs a recipe under the given flags and prints its tables and figures. */
export async function train(name: string, settings: TrainSettings, flags: OptionsInput): Promise<Results> {
  const { config: file, set = [], plugin, sample = false, ...rest } = settings;
  const trainer = trainerByName(name, await allTrainers(plugin));
  if (sample && trainer.data?.sample === undefined) {
    throw new MerakError('trainer/data', `'${name}' has no generated sample`, { path: '--sample', hint: 'use --data' });
  }
  const config = await readTrainerConfig(trainer.config, file, set);
  setLaunchContext({ mode: 'launch', flags });
  const seed = flags.seed === undefined ? {} : { seed: flags.seed };
  const results = await runTrainer(trainer, config, { ...rest, ...seed, sample, flags });
  if (settings.quiet === true) return results;
  for (const table of Object.values(results.tables)) process.stdout.write(`${markdownTable(table)}\n`);
  for (const [key, value] of Object.entries(results.figures)) {
    process.stdout.write(`${key.padEnd(20)} ${cellText(value)}\n`);
  }
  return results;
}

async function allTrainers(plugin: string | undefined): Promise<readonly Trainer[]> {
  return plugin === undefined ? TRAINERS : [await loadPlugin(plugin), ...TRAINERS];
}
