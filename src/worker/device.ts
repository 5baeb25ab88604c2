/** Makes the device a worker runs its plan on. */
import { pathToFileURL } from 'node:url';
import { MerakError } from '../errors.js';
import type { HostCommunicator } from '../runtime/communicator.js';
import type { Device } from '../runtime/device.js';

export interface DeviceOptions {
  readonly device: 'native' | 'tfjs';
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
  const { device, numThreads, tfjsBackend, communicator } = options;
  if (device === 'native') {
    const [{ NativeDevice }, { loadAddon }] = await Promise.all([
      import('../runtime/native/device.js'),
      import('../runtime/native/addon.js'),
    ]);
    loadAddon(); // Now, so that a worker that cannot compute does not join.
    return new NativeDevice({ threads: numThreads });
  }
  const { TfjsDevice } = await import('../runtime/tfjs/device.js');
  return new TfjsDevice({ backend: tfjsBackend || 'cpu', communicator });
}

async function createOtherDevice(path: string, options: DeviceOptions): Promise<Device> {
  const module: unknown = await import(pathToFileURL(path).href);
  if (typeof module === 'object' && module !== null && 'createDevice' in module) {
    return (module.createDevice as DeviceFactory)(options);
  }
  throw new MerakError('coordinator/worker-start', `${path} exports no createDevice`, { path: DEVICE_MODULE_VARIABLE });
}
