/** Worker processes that load while the script is read and the plan is made: they take about as long. */
import { availableParallelism } from 'node:os';
import { workersWanted } from '../config/devices.js';
import { parseOptions } from '../config/parse.js';
import type { Options, OptionsInput } from '../config/schema.js';
import { type ClusterOptions, type StartingCluster, spawnCluster } from '../coordinator/cluster.js';
import { processWide } from '../coordinator/processWide.js';
import { likelyDevice, threadsOf } from './device.js';
import { groupOptions, isInProcess } from './groupOptions.js';

interface EarlyWorkers {
  readonly options: ClusterOptions;
  readonly starting: Promise<StartingCluster>;
}

/** The command starts them, the script's own copy of Merak takes them. */
const waiting = processWide<{ workers?: EarlyWorkers }>('earlyWorkers', () => ({}));

/** Before the script is read, where the flags alone say how many workers there will be. */
export async function startForFlags(flags: OptionsInput): Promise<void> {
  const options = parseOptions(flags, 'command line');
  const degrees = [options.dp, options.tp, options.pp].filter((degree) => degree !== undefined);
  const numRanks = workersWanted(options) ?? degrees.reduce((product, degree) => product * degree, 1);
  if (workersWanted(options) === undefined && degrees.length === 0) return;
  // Whoever wants the workers starts them again, and is told what is wrong.
  await startEarly(numRanks, options).catch(() => {});
}

/**
 * For as many ranks, and on the device, that the plan will most likely want. None where some wait already, where the rank
 * lives in this process, and where there are more workers than cores, which would hold everything else up.
 */
export async function startEarly(numRanks: number, options: Options): Promise<void> {
  if (waiting.workers !== undefined || isInProcess(numRanks) || numRanks > availableParallelism()) return;
  const wanted = groupOptions(numRanks, likelyDevice(options), options, threadsOf(options, numRanks));
  const starting = spawnCluster(wanted);
  waiting.workers = { options: wanted, starting };
  try {
    await starting;
  } catch (error) {
    delete waiting.workers;
    throw error;
  }
}

/** Those that wait, when they are as wanted; others are ended. */
export async function takeEarly(wanted: ClusterOptions): Promise<StartingCluster | undefined> {
  const early = waiting.workers;
  if (early === undefined) return undefined;
  delete waiting.workers;
  if (JSON.stringify(early.options) === JSON.stringify(wanted)) return early.starting;
  await (await early.starting).abandon();
  return undefined;
}

/** Ends those that wait: there will be no plan for them. */
export async function abandonEarly(): Promise<void> {
  const { workers } = waiting;
  delete waiting.workers;
  await (await workers?.starting)?.abandon();
}
