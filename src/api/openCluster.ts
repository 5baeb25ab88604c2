/** The ranks of a plan, started and given it. */
import type { Options } from '../config/schema.js';
import { type Cluster, startCluster } from '../coordinator/cluster.js';
import { localCluster } from '../coordinator/local.js';
import type { Plan } from '../plan/plan.js';
import { type DeviceName, numGpusFor } from './device.js';
import { takeEarly } from './earlyWorkers.js';
import { groupOptions, isInProcess } from './groupOptions.js';
import { measured } from './measured.js';

/** Processes of this machine, started now unless some wait; this process itself for a single rank started by plain `node`. */
export async function openCluster(
  plan: Plan,
  device: DeviceName,
  options: Options,
  threadsPerWorker: number,
): Promise<Cluster> {
  const numRanks = plan.ranks.length;
  const start = async (): Promise<Cluster> => {
    if (isInProcess(numRanks)) {
      const { tfjsBackend } = options;
      return localCluster({ device, tfjsBackend, threadsPerWorker, numGpus: numGpusFor(options) });
    }
    const wanted = groupOptions(numRanks, device, options, threadsPerWorker);
    return (await takeEarly(wanted))?.ready ?? startCluster(wanted);
  };
  const cluster = await measured('start workers', start);
  await measured('open the plan', () => cluster.open(plan));
  return cluster;
}
