/** What a worker group is started with. */
import { launchContext } from '../config/launch.js';
import type { Options } from '../config/schema.js';
import type { ClusterOptions } from '../coordinator/cluster.js';
import type { DeviceKind } from '../runtime/createDevice.js';
import { numGpusFor } from './device.js';

export function groupOptions(
  numWorkers: number,
  device: DeviceKind,
  options: Options,
  threadsPerWorker: number,
): ClusterOptions {
  const { tfjsBackend, port, logDir: logDirectory, startTimeout, stepTimeout } = options;
  return {
    numWorkers,
    device,
    numGpus: device === 'cuda' ? numGpusFor(options) : 0,
    tfjsBackend,
    threadsPerWorker,
    port,
    logDirectory,
    startTimeoutSeconds: startTimeout,
    stepTimeoutSeconds: stepTimeout,
  };
}

/** A single rank started by plain `node` lives in this process. */
export function isInProcess(numRanks: number): boolean {
  return numRanks === 1 && launchContext()?.mode !== 'launch';
}
