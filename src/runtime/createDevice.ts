/** Makes the device a rank runs its plan on. */
import { pathToFileURL } from 'node:url';
import { MerakError } from '../errors.js';
import type { HostCommunicator } from './communicator.js';
import type { Device } from './device.js';

export type DeviceKind = 'native' | 'cuda' | 'tfjs';

export interface DeviceOptions {
  readonly device: DeviceKind;
  /** GPUs that the ranks of this host take turns on (device 'cuda'). */
  readonly numGpus: number;
  /** '' for the default backend. */
  readonly tfjsBackend: string;
  readonly numThreads: number;
  readonly rank: number;
  readonly numWorkers: number;
  /** Carries the collectives of devices that cannot reach their peers by themselves. */
  readonly communicator: HostCommunicator;
}

export type DeviceFactory = (options: DeviceOptions) => Promise<Device> | Device;

/** Path of a module exporting `createDevice: DeviceFactory`, in place of the built-in devices. */
export const DEVICE_MODULE_VARIABLE = 'MERAK_DEVICE_MODULE';

/** Modules are loaded only when wanted: a worker on the native engine never loads tfjs. */
export async function createDevice(options: DeviceOptions): Promise<Device> {
  const other = process.env[DEVICE_MODULE_VARIABLE];
  if (other) return createOtherDevice(other, options);
  const { device, numThreads, tfjsBackend, rank, numGpus } = options;
  if (device !== 'tfjs') {
    const [{ NativeDevice }, { loadAddon }] = await Promise.all([
      import('./native/device.js'),
      import('./native/addon.js'),
    ]);
    loadAddon(); // Now, so that a worker that cannot compute does not join.
    if (device === 'native') return new NativeDevice({ threads: numThreads });
    const { requireGpus } = await import('./native/gpus.js');
    requireGpus(Math.max(1, numGpus));
    const cuda = { ordinal: rank % Math.max(1, numGpus) };
    return new NativeDevice({ threads: numThreads, cuda });
  }
  const { TfjsDevice } = await import('./tfjs/device.js');
  return new TfjsDevice({ backend: tfjsBackend || 'cpu', communicator: await hostCommunicator(options) });
}

/** Shared memory where the addon loads, else the relay. The workers of a group are of one host, so all choose alike. */
async function hostCommunicator({ rank, numWorkers, communicator }: DeviceOptions): Promise<HostCommunicator> {
  if (numWorkers === 1) return communicator;
  const { shmCommunicator } = await import('./shmCommunicator.js');
  try {
    return shmCommunicator(rank);
  } catch (error) {
    if (error instanceof MerakError && error.code === 'engine/unsupported') return communicator;
    throw error;
  }
}

async function createOtherDevice(path: string, options: DeviceOptions): Promise<Device> {
  const module: unknown = await import(pathToFileURL(path).href);
  if (typeof module === 'object' && module !== null && 'createDevice' in module) {
    return (module.createDevice as DeviceFactory)(options);
  }
  throw new MerakError('coordinator/worker-start', `${path} exports no createDevice`, { path: DEVICE_MODULE_VARIABLE });
}
