/** The native addon as the parity tests use it: one kernel at a time. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export type HostArray = Float32Array | Int32Array | Uint8Array;
export type DType = 'float32' | 'int32' | 'bool';

export interface TensorType {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

export interface NodeSpec {
  readonly kernel: string;
  readonly inputs: readonly TensorType[];
  readonly inputNames: readonly string[];
  readonly outputs: readonly TensorType[];
  readonly attrs: object;
}

interface Addon {
  kernelNames(): string[];
  supports(spec: NodeSpec): string;
  runKernel(spec: NodeSpec, inputs: readonly HostArray[], options?: object): HostArray[];
  setThreads(numThreads: number): void;
}

/** MERAK_ADDON names another build of the addon (an instruction set, a sanitizer). */
const path = process.env.MERAK_ADDON ?? fileURLToPath(new URL('../../build/merak.node', import.meta.url));

export const addon = createRequire(import.meta.url)(path) as Addon;
