/** The 'merak-proxy' backend of tfjs: tensors with a shape and a dtype but no memory. */
import * as tf from '@tensorflow/tfjs';
import { dataReadError } from './failure.js';
import { dataOf } from './initializers.js';
import { currentMode } from './mode.js';
import { type HostData, makeProxy, proxies } from './proxy.js';
import { toDType } from './rules/rule.js';

export const PROXY_BACKEND = 'merak-proxy';

type BackendValues = Parameters<tf.KernelBackend['write']>[0];
type DataType = Parameters<tf.KernelBackend['write']>[2];

class ProxyBackend extends tf.KernelBackend {
  #numDataIds = 0;

  override write(values: BackendValues, shape: number[], dtype: DataType): object {
    const type = toDType(dtype);
    const data = hostCopy(values, type);
    this.#numDataIds++;
    return currentMode()?.write(data, shape, type) ?? makeProxy({ shape: [...shape], dtype: type, data });
  }

  /** A tensor of a real backend is never moved here: kernels look at its shape and leave its data where it is. */
  override move(): void {
    throw dataReadError();
  }

  override readSync(dataId: object): BackendValues {
    const proxy = proxies.get(dataId);
    const data = proxy === undefined || proxy.random !== undefined ? undefined : dataOf(proxy);
    if (proxy !== undefined && data !== undefined) return hostCopy(data, proxy.dtype);
    const error = dataReadError();
    currentMode()?.failed(error);
    throw error;
  }

  override async read(dataId: object): Promise<BackendValues> {
    return this.readSync(dataId);
  }

  override refCount(dataId: object): number {
    return proxies.get(dataId)?.references ?? 0;
  }

  override incRef(dataId: object): void {
    const proxy = proxies.get(dataId);
    if (proxy !== undefined) proxy.references++;
  }

  override disposeData(dataId: object, force = false): boolean {
    const proxy = proxies.get(dataId);
    if (proxy === undefined) return true;
    proxy.references--;
    if (!force && proxy.references > 0) return false;
    this.#numDataIds--;
    return true;
  }

  override numDataIds(): number {
    return this.#numDataIds;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: false };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override dispose(): void {}
}

const backend = new ProxyBackend();

function hostCopy(values: BackendValues, dtype: 'float32' | 'int32' | 'bool'): HostData {
  const numbers = values as ArrayLike<number>;
  if (dtype === 'float32') return Float32Array.from(numbers);
  return dtype === 'int32' ? Int32Array.from(numbers) : Uint8Array.from(numbers);
}

interface Current {
  readonly name: string;
  readonly instance: unknown;
}

function current(): Current {
  const engine = tf.engine();
  return { name: engine.backendName, instance: Reflect.get(engine, 'backendInstance') };
}

/**
 * Sets tfjs's current backend without `tf.setBackend`, which is a promise, walks all registered kernels (a millisecond
 * for each of thousands of small recordings) and would need the proxy registered where tfjs may pick it by itself.
 */
function makeCurrent({ name, instance }: Current): void {
  const engine = tf.engine();
  engine.backendName = name;
  Reflect.set(engine, 'backendInstance', instance);
}

/** Runs `body` with the proxy backend current, then puts the previous one (or none) back, on errors too. */
export function onProxyBackend<T>(body: () => T): T {
  const previous = current();
  makeCurrent({ name: PROXY_BACKEND, instance: backend });
  try {
    return body();
  } finally {
    makeCurrent(previous);
  }
}

/** Runs `body` on a real backend from inside `onProxyBackend`. One that initialises asynchronously must be ready. */
export function onBackend<T>(name: string, body: () => T): T {
  const previous = current();
  // Synchronous in effect for a backend that is ready, or that initialises synchronously like tfjs's CPU backend.
  void tf.setBackend(name);
  try {
    return body();
  } finally {
    makeCurrent(previous);
  }
}
