/** A Cluster of one rank inside this process: the same interface, the device called directly. */

import { MerakError } from '../errors.js';
import type { Plan } from '../plan/plan.js';
import { createDevice } from '../runtime/createDevice.js';
import type { ArenaHandle, Device } from '../runtime/device.js';
import { localCommunicators } from '../runtime/localCommunicator.js';
import type { Cluster, ClusterOptions } from './cluster.js';
import { asMerakError } from './wireError.js';

export type LocalClusterOptions = Pick<ClusterOptions, 'device' | 'tfjsBackend' | 'threadsPerWorker' | 'numGpus'>;

/** The device is made by `open`, which therefore reports when it cannot be. Commands run one at a time, in order. */
export function localCluster(options: LocalClusterOptions): Cluster {
  let device: Device | undefined;
  let closed = false;
  let queue: Promise<unknown> = Promise.resolve();
  let rejectFailure: (error: MerakError) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    rejectFailure = reject;
  });
  failure.catch(() => {}); // The command that failed rejects as well.

  /** As in a worker group, the first error is the end. */
  let error: MerakError | undefined;
  const enqueue = <T>(work: () => Promise<T> | T): Promise<T> => {
    const result = queue.then(async () => {
      if (error !== undefined) throw error;
      if (closed) throw new MerakError('coordinator/protocol', 'the cluster is closed');
      try {
        return await work();
      } catch (thrown) {
        error = asMerakError(thrown);
        device?.close();
        rejectFailure(error);
        throw error;
      }
    });
    queue = result.catch(() => {});
    return result;
  };
  const opened = (): Device => {
    if (device !== undefined) return device;
    throw new MerakError('coordinator/protocol', 'the cluster has no plan yet: open comes first');
  };
  const create = (): Promise<Device> => {
    const { device: kind, tfjsBackend = '', threadsPerWorker: numThreads, numGpus = 0 } = options;
    const communicator = localCommunicators(1)[0]!;
    return createDevice({ device: kind, tfjsBackend, numThreads, rank: 0, numWorkers: 1, numGpus, communicator });
  };

  return {
    numWorkers: 1,
    generation: 0,
    logDirectory: undefined,
    failure,
    async open(plan: Pick<Plan, 'ranks'>) {
      const [rank, ...others] = plan.ranks;
      if (rank === undefined || others.length > 0) {
        throw new MerakError('config/degrees', `a plan for ${plan.ranks.length} ranks cannot run inside one process`, {
          expected: '1',
          received: `${plan.ranks.length}`,
        });
      }
      await enqueue(async () => {
        device?.close();
        device = await create();
        const handles: ArenaHandle[] = [...(await device.open(rank))];
        for (const executable of rank.executables) handles.push(...(await device.load(executable)));
        await device.connect(handles);
      });
    },
    load: (executables) =>
      enqueue(async () => {
        for (const executable of executables) await opened().connect(await opened().load(executable));
      }),
    async run(executable, inputs) {
      const input = inputs(0);
      device?.announce?.(executable, input);
      return [await enqueue(() => opened().run(executable, input))];
    },
    write: (_rank, index, kind, data) => enqueue(() => opened().write(index, kind, data)),
    read: (_rank, index, kind) => enqueue(() => opened().read(index, kind)),
    setUpdates: (updates, lossScaling) => enqueue(() => opened().setUpdates(updates, lossScaling)),
    measuredBytes: () => enqueue(() => [opened().measuredBytes()]),
    async close() {
      await queue;
      if (!closed && error === undefined) device?.close();
      closed = true;
    },
  };
}
