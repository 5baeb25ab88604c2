/** Which engine runs a plan, and the worker group for it. */
import { availableParallelism, cpus } from 'node:os';
import { launchContext } from '../config/launch.js';
import type { Options } from '../config/schema.js';
import {
  type Cluster,
  type ClusterOptions,
  type StartingCluster,
  spawnCluster,
  startCluster,
} from '../coordinator/cluster.js';
import { localCluster } from '../coordinator/local.js';
import { MerakError } from '../errors.js';
import type { Plan, WorkspaceOf } from '../plan/plan.js';
import { missingKernels } from '../planner/fallback.js';
import { loadAddon } from '../runtime/native/addon.js';
import { nativeWorkspace } from '../runtime/native/workspace.js';
import { measured } from './measured.js';

export type DeviceName = 'native' | 'tfjs';

/**
 * The native engine when it loads and knows every kernel of the plan; else the tfjs runtime, with a line saying why.
 *
 * @throws MerakError engine/unsupported when 'native' was asked for by name and cannot run the plan
 */
export async function pickDevice(plan: Plan, options: Options): Promise<DeviceName> {
  if (options.device === 'tfjs') return 'tfjs';
  const problem = nativeProblem(plan);
  if (problem === undefined) return 'native';
  if (options.device === 'native') throw problem;
  process.stderr.write(
    `merak: the tfjs runtime (backend ${options.tfjsBackend}) steps in for the native engine: ${problem.message}\n`,
  );
  return 'tfjs';
}

function nativeProblem(plan: Plan): MerakError | undefined {
  let known: Set<string>;
  try {
    known = new Set(loadAddon().kernelNames());
  } catch (error) {
    if (error instanceof MerakError) return error;
    throw error;
  }
  const missing = missingKernels(plan, known);
  if (missing.length === 0) return undefined;
  return new MerakError('engine/unsupported', `the native engine has no kernel for ${missing.join(', ')}`, {
    hint: 'use --device tfjs',
  });
}

/** What the native engine can run; undefined when it cannot be loaded, or is not to be used. */
export function nativeKernels({ device }: Pick<Options, 'device'>): ReadonlySet<string> | undefined {
  if (device === 'tfjs') return undefined;
  try {
    return new Set(loadAddon().kernelNames());
  } catch (error) {
    if (error instanceof MerakError) return undefined;
    throw error;
  }
}

/** What kernels take on the workers of a plan of so many ranks; undefined where the native engine is not to be used. */
export function workspaceFor(options: Options, numRanks: number): WorkspaceOf | undefined {
  return nativeKernels(options) === undefined ? undefined : nativeWorkspace(threadsOf(options, numRanks));
}

/** Threads of each worker: the cores shared out, unless the options say otherwise. */
export function threadsOf(options: Options, numRanks: number): number {
  return options.threadsPerWorker ?? Math.max(1, Math.floor(cpus().length / numRanks));
}

/** Worker processes started before the plan is there, for as many ranks and on the device that it will most likely want. */
export interface EarlyWorkers {
  readonly numRanks: number;
  readonly device: DeviceName;
  readonly starting: StartingCluster;
}

/**
 * Loading a worker takes longer than planning: both at once. Undefined where the rank lives in this process, and where
 * there are more workers than cores, which would hold the planning up.
 */
export async function startEarly(
  numRanks: number,
  options: Options,
  threadsPerWorker: number,
): Promise<EarlyWorkers | undefined> {
  if (isInProcess(numRanks) || numRanks > availableParallelism()) return undefined;
  const device = nativeKernels(options) === undefined ? 'tfjs' : 'native';
  return { numRanks, device, starting: await spawnCluster(groupOptions(numRanks, device, options, threadsPerWorker)) };
}

/** Starts the ranks, unless `early` has: processes of this machine, or this process itself for a single rank started by plain `node`. */
export async function openCluster(
  plan: Plan,
  device: DeviceName,
  options: Options,
  threadsPerWorker: number,
  early?: EarlyWorkers,
): Promise<Cluster> {
  const numRanks = plan.ranks.length;
  const fits = early !== undefined && early.device === device && early.numRanks === numRanks;
  if (early !== undefined && !fits) await early.starting.abandon();
  const start = (): Promise<Cluster> | Cluster => {
    if (fits) return early.starting.ready;
    const { tfjsBackend } = options;
    if (isInProcess(numRanks)) return localCluster({ device, tfjsBackend, threadsPerWorker });
    return startCluster(groupOptions(numRanks, device, options, threadsPerWorker));
  };
  const cluster = await measured('start workers', start);
  await measured('open the plan', () => cluster.open(plan));
  return cluster;
}

function isInProcess(numRanks: number): boolean {
  return numRanks === 1 && launchContext()?.mode !== 'launch';
}

function groupOptions(
  numWorkers: number,
  device: DeviceName,
  options: Options,
  threadsPerWorker: number,
): ClusterOptions {
  const { tfjsBackend, port, logDir: logDirectory, startTimeout, stepTimeout } = options;
  return {
    numWorkers,
    device,
    tfjsBackend,
    threadsPerWorker,
    port,
    logDirectory,
    startTimeoutSeconds: startTimeout,
    stepTimeoutSeconds: stepTimeout,
  };
}
