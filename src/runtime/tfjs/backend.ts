/** Choosing a tfjs backend: cpu, wasm, tensorflow (tfjs-node), ..., loading its package where it has one. */
import * as tf from '@tensorflow/tfjs';
import { MerakError } from '../../errors.js';
import { ensureKernels } from '../../kernels/register.js';

/** Packages that register a backend when imported. */
const PACKAGES: Readonly<Record<string, string>> = {
  wasm: '@tensorflow/tfjs-backend-wasm',
  tensorflow: '@tensorflow/tfjs-node',
  'tensorflow-gpu': '@tensorflow/tfjs-node-gpu',
};

/** tfjs's name of the backend that `name` asks for. */
export function backendName(name: string): string {
  return name === 'tensorflow-gpu' ? 'tensorflow' : name;
}

/** Makes the backend current, with Merak's kernels. Raises engine/not-loaded when it is not there. */
export async function useBackend(name: string): Promise<void> {
  const backend = backendName(name);
  try {
    const location = PACKAGES[name];
    if (location !== undefined && tf.engine().registryFactory[backend] === undefined) await import(location);
    if (tf.getBackend() !== backend && !(await tf.setBackend(backend))) throw new Error('it does not start');
    await tf.ready();
  } catch (error) {
    throw new MerakError('engine/not-loaded', `the tfjs backend '${name}' cannot be used`, {
      received: error instanceof Error ? error.message : String(error),
      hint: PACKAGES[name] === undefined ? "use 'cpu' or 'wasm'" : `npm install ${PACKAGES[name]}`,
      cause: error,
    });
  }
  ensureKernels(backend);
}

/** Makes an initialised backend current again, at once: other code may have switched while this rank waited. */
export function restoreBackend(name: string): void {
  const backend = backendName(name);
  if (tf.engine().backendName !== backend) void tf.setBackend(backend);
}
