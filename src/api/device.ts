/** Which engine runs a plan, and what it has there. */
import { availableParallelism, cpus } from 'node:os';
import { mayUseCuda, numGpusWanted, wantsCuda } from '../config/devices.js';
import type { Options } from '../config/schema.js';
import { MerakError } from '../errors.js';
import type { Plan, WorkspaceOf } from '../plan/plan.js';
import { ncclBytes } from '../planner/costs/communicatorBytes.js';
import { deviceByName } from '../planner/costs/devices.js';
import { readProfile } from '../planner/costs/profileFile.js';
import { missingKernels } from '../planner/fallback.js';
import { type Cluster, localCluster } from '../planner/search/cluster.js';
import { gpuCluster, PLANNED_CARD } from '../planner/search/gpuCluster.js';
import type { DeviceKind } from '../runtime/createDevice.js';
import { loadAddon } from '../runtime/native/addon.js';
import { capabilityOf, findGpus, findLibrary, requireGpus } from '../runtime/native/gpus.js';
import { nativeWorkspace } from '../runtime/native/workspace.js';

export type DeviceName = DeviceKind;

/**
 * The CUDA engine where there are GPUs, the native engine when it loads and knows every kernel of the plan; else the tfjs
 * runtime, with a line saying why.
 *
 * @throws MerakError engine/unsupported when 'native' or 'cuda' was asked for by name and cannot run the plan; engine/no-gpu
 */
export async function pickDevice(plan: Plan, options: Options): Promise<DeviceName> {
  const isScaled = plan.ranks.some(({ lossScale }) => lossScale !== undefined);
  if (isScaled && options.device === 'tfjs') throw needsGpu('the tfjs runtime');
  if (options.device === 'tfjs') return 'tfjs';
  const problem = nativeProblem(plan, options);
  if (wantsCuda(options)) requireGpus(numGpusWanted(options));
  if (isScaled && !targetsCuda(options)) throw needsGpu('the processor');
  if (problem === undefined) return numGpusFor(options) > 0 ? 'cuda' : 'native';
  if (options.device === 'native' || wantsCuda(options)) throw problem;
  process.stderr.write(
    `merak: the tfjs runtime (backend ${options.tfjsBackend}) steps in for the native engine: ${problem.message}\n`,
  );
  return 'tfjs';
}

/**
 * The engine that most plans would run on, before there is one.
 *
 * @throws MerakError engine/no-gpu when GPUs are asked for that are not there
 */
export function likelyDevice(options: Options): DeviceName {
  if (wantsCuda(options)) requireGpus(numGpusWanted(options));
  if (nativeKernels(options) === undefined) return 'tfjs';
  return numGpusFor(options) > 0 ? 'cuda' : 'native';
}

function needsGpu(received: string): MerakError {
  return new MerakError('engine/unsupported', 'float16 is computed on GPUs only', {
    path: 'precision',
    expected: 'an NVIDIA GPU (--device cuda)',
    received,
    hint: 'train with precision bf16, which needs no loss scale and runs everywhere',
  });
}

function nativeProblem(plan: Plan, options: Options): MerakError | undefined {
  let known: ReadonlySet<string>;
  try {
    known = enginesKernels(options);
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
export function nativeKernels(options: Pick<Options, 'device' | 'devices'>): ReadonlySet<string> | undefined {
  if (options.device === 'tfjs') return undefined;
  try {
    return enginesKernels(options);
  } catch (error) {
    if (error instanceof MerakError) return undefined;
    throw error;
  }
}

/** The CPU engine's, which steps in for the CUDA engine where it can, and those that only the CUDA engine has. */
function enginesKernels(options: Pick<Options, 'device' | 'devices'>): ReadonlySet<string> {
  const addon = loadAddon();
  return new Set([...addon.kernelNames(), ...(targetsCuda(options) ? addon.cudaKernelNames() : [])]);
}

/** Whether plans are made for the CUDA engine: it was asked for, or there are cards that it may use. */
export function targetsCuda(options: Pick<Options, 'device' | 'devices'>): boolean {
  return wantsCuda(options) || numGpusFor(options) > 0;
}

/** The GPUs that the ranks will take turns on; 0 where none is there, or none is to be used. */
export function numGpusFor(options: Pick<Options, 'device' | 'devices'>): number {
  return mayUseCuda(options) ? findGpus().slice(0, numGpusWanted(options)).length : 0;
}

/** Memory of a rank's share of its GPU, in bytes; undefined where ranks compute on the processor. */
export function gpuBytesPerRank(options: Pick<Options, 'device' | 'devices'>, numRanks: number): number | undefined {
  if (!targetsCuda(options)) return undefined;
  const numGpus = numGpusFor(options);
  const smallest = Math.min(
    ...(numGpus === 0
      ? [deviceByName(PLANNED_CARD.sheet).memoryBytes]
      : findGpus()
          .slice(0, numGpus)
          .map(({ totalBytes }) => totalBytes)),
  );
  return Math.floor((smallest * GPU_SHARE) / Math.ceil(numRanks / (numGpus || numGpusPlanned(options, numRanks))));
}

/** What the search prices a plan of so many ranks by: the cards, or the cores of this machine. */
export function clusterFor(options: Options, numRanks: number, memoryBytes: number): Cluster {
  const profile = readProfile();
  if (!targetsCuda(options)) return localCluster(numRanks, availableParallelism(), memoryBytes, profile);
  const numGpus = numGpusFor(options);
  const [gpu] = numGpus > 0 ? findGpus() : [];
  return gpuCluster({
    workers: numRanks,
    numGpus: numGpus || numGpusPlanned(options, numRanks),
    card: gpu === undefined ? undefined : { name: gpu.name, capability: capabilityOf(gpu) },
    nccl: gpu === undefined || findLibrary('NCCL') !== undefined ? ncclBytes(loadAddon().ncclCtas()) : undefined,
    memoryBytes,
    precision: options.precision,
    profile,
  });
}

/** Where plans are made without a card: what `--devices` says, else one for each rank. */
function numGpusPlanned(options: Pick<Options, 'device' | 'devices'>, numRanks: number): number {
  return Math.min(numRanks, numGpusWanted(options) ?? numRanks);
}

/** What CUDA's context, modules and libraries leave of a card. */
const GPU_SHARE = 0.9;

/** What kernels take on the workers of a plan of so many ranks; undefined where the native engine is not to be used. */
export function workspaceFor(options: Options, numRanks: number): WorkspaceOf | undefined {
  if (nativeKernels(options) === undefined) return undefined;
  const [gpu] = numGpusFor(options) > 0 ? findGpus() : [];
  const capability = gpu === undefined ? (wantsCuda(options) ? PLANNED_CARD.capability : undefined) : capabilityOf(gpu);
  return nativeWorkspace(threadsOf(options, numRanks), capability);
}

/** Threads of each worker: the cores shared out, unless the options say otherwise. */
export function threadsOf(options: Options, numRanks: number): number {
  return options.threadsPerWorker ?? Math.max(1, Math.floor(cpus().length / numRanks));
}
