/** Starts real worker processes on the echo device, with limits short enough for tests. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Cluster, type ClusterOptions, startCluster } from '../../src/coordinator/cluster.js';
import type { Executable, Plan, RankPlan } from '../../src/plan/plan.js';
import type { StepInput } from '../../src/runtime/device.js';

export const ECHO_DEVICE = fileURLToPath(new URL('./fixtures/echoDevice.ts', import.meta.url));

export async function startEchoCluster(numWorkers: number, options: Partial<ClusterOptions> = {}): Promise<Cluster> {
  process.env.MERAK_DEVICE_MODULE = ECHO_DEVICE;
  return startCluster({
    numWorkers,
    device: 'native',
    threadsPerWorker: 1,
    logDirectory: mkdtempSync(join(tmpdir(), 'merak-test-')),
    startTimeoutSeconds: 60,
    log: () => {},
    ...options,
  });
}

export function executable(name: string): Executable {
  return {
    name,
    numMicroBatches: 1,
    microBatchSize: 1,
    spaces: [],
    arenaBytes: 0,
    programs: [],
    schedule: [],
    inputs: [],
    metrics: [],
    outputs: [],
    constants: [],
  };
}

export function emptyPlan(numRanks: number): Plan {
  const mesh = { pp: 1, dp: numRanks, tp: 1 };
  const ranks = Array.from(
    { length: numRanks },
    (_, rank): RankPlan => ({
      rank,
      coordinates: { pp: 0, dp: rank, tp: 0 },
      mesh,
      groups: [],
      parameters: [],
      persistentSpaces: [],
      persistentBytes: 0,
      gradientBuckets: [],
      stateBuckets: [],
      optimizer: { kind: 'sgd' },
      clipNorm: 0,
      executables: [executable('train')],
    }),
  );
  return {
    mesh,
    scheduleName: '1f1b',
    numMicroBatches: 1,
    microBatchSize: 1,
    seed: 0,
    parameters: [],
    schedule: [],
    stages: [],
    ranks,
  };
}

export function stepInput(step: number, values: StepInput['inputs'] = new Map()): StepInput {
  return { step, seed: 7, learningRate: 0.125, timeoutSeconds: 30, inputs: values };
}

export async function workerPids(cluster: Cluster): Promise<number[]> {
  return (await cluster.measuredBytes()).map(({ pid }) => pid!);
}

/** A zombie whose parent has not looked yet counts as ended. */
export function isAlive(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return false;
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(file, 'utf8'));
  } catch {
    return false;
  }
}

/** Seconds until none of the processes lives; Infinity when `limitSeconds` pass before. */
export async function secondsUntilGone(pids: readonly number[], limitSeconds = 10): Promise<number> {
  const started = performance.now();
  while (pids.some(isAlive)) {
    if (performance.now() - started > limitSeconds * 1000) return Number.POSITIVE_INFINITY;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return (performance.now() - started) / 1000;
}
