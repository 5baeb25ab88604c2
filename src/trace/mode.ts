/** What happens when a kernel runs on the proxy backend: the innermost active mode decides (recording a graph, or lazy building). */
import type * as tf from '@tensorflow/tfjs';
import type { Attrs, DType } from '../graph/graph.js';
import type { HostData } from './proxy.js';
import type { TensorSpec } from './rules/rule.js';

export interface KernelCall {
  readonly kernel: string;
  /** tfjs's order; absent optional inputs are left out. */
  readonly inputs: readonly (readonly [name: string, tensor: tf.TensorInfo])[];
  readonly attrs: Attrs;
  readonly outputs: readonly TensorSpec[];
}

export interface Mode {
  /** The tensors a kernel call yields, one dataId per output. */
  run(call: KernelCall): object[];
  /** A kernel whose output shapes depend on data: its tensors, when this mode can tell their shapes. */
  dynamic?(call: Omit<KernelCall, 'outputs'>): tf.TensorInfo[];
  /** Host data becomes a tensor. */
  write(data: HostData, shape: readonly number[], dtype: DType): object;
  /** Where in the model: for error messages. */
  scope(): string;
  /** Called with an error that an asynchronous body may swallow (a rejected promise). */
  failed(error: Error): void;
}

const active: Mode[] = [];

export function currentMode(): Mode | undefined {
  return active.at(-1);
}

/** Runs `body` with `mode` on top. */
export function withMode<T>(mode: Mode, body: () => T): T {
  active.push(mode);
  try {
    return body();
  } finally {
    active.pop();
  }
}
