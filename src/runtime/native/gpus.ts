/** The GPUs of this machine that the CUDA engine can use. */
import { MerakError } from '../../errors.js';
import { type GpuDevice, type GpuLibrary, loadAddon } from './addon.js';
import { toMerakError } from './error.js';

/** Kernels need the tensor cores and asynchronous copies of compute capability 8.0. */
const LEAST_CAPABILITY = 8;

/** In the order of their ordinals; stops before the first that is too old. Empty where there is none. */
export function findGpus(): readonly GpuDevice[] {
  try {
    return usable(loadAddon().gpuDevices());
  } catch {
    return [];
  }
}

/**
 * The GPUs to use: `wanted` of them, or all.
 *
 * @throws MerakError engine/no-gpu saying where was looked, or how many there are; engine/unsupported without the addon
 */
export function requireGpus(wanted?: number): readonly GpuDevice[] {
  const hint = 'run merak doctor to see what was found where, or train with --device native';
  const addon = loadAddon();
  let found: readonly GpuDevice[];
  try {
    found = addon.gpuDevices();
  } catch (error) {
    const { code, summary } = toMerakError(error);
    throw new MerakError(code, summary, { path: 'device', hint, cause: error });
  }
  const gpus = usable(found);
  if (gpus.length >= (wanted ?? 1)) return gpus.slice(0, wanted);
  throw new MerakError('engine/no-gpu', 'the machine has too few GPUs that Merak can use', {
    path: 'devices',
    expected: `${wanted ?? 1} of compute capability ${LEAST_CAPABILITY}.0 or later`,
    received: found.map(({ name, capability }) => `${name} (${capability})`).join(', ') || 'none',
    hint,
  });
}

/** NVIDIA's library of that name as it was found; undefined where none will do. Raises engine/unsupported without the addon. */
export function findLibrary(wanted: GpuLibrary['name']): GpuLibrary | undefined {
  return loadAddon()
    .gpuLibraries()
    .find(({ name, path }) => name === wanted && path !== '');
}

/** 90 for compute capability 9.0. */
export function capabilityOf({ capability }: GpuDevice): number {
  return Math.round(Number(capability) * 10);
}

function usable(devices: readonly GpuDevice[]): readonly GpuDevice[] {
  const tooOld = devices.findIndex(({ capability }) => Number(capability) < LEAST_CAPABILITY);
  return tooOld < 0 ? devices : devices.slice(0, tooOld);
}
