/** How the initial value of a lazy tensor was recorded. */
import type * as tf from '@tensorflow/tfjs';
import type { DType, Initializer } from '../graph/graph.js';
import { type HostData, type ProxyFacts, proxies } from './proxy.js';

/** The recorded initialiser of a variable built with `lazy`; undefined when it holds data. */
export function initializerOf(variable: tf.Tensor): Initializer | undefined {
  return proxies.get(variable.dataId)?.initializer;
}

/** The data a proxy has, or that its constant initialiser stands for; undefined for random ones and plain proxies. */
export function dataOf({ data, initializer, shape, dtype }: ProxyFacts): HostData | undefined {
  if (data !== undefined) return data;
  return initializer?.kind === 'constant' ? filled(shape, dtype, initializer.value) : undefined;
}

function filled(shape: readonly number[], dtype: DType, value: number): HostData {
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (dtype === 'float32') return new Float32Array(size).fill(value);
  return dtype === 'int32' ? new Int32Array(size).fill(value) : new Uint8Array(size).fill(value);
}
