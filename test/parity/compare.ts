/** Runs one kernel on tfjs's CPU backend and on the native engine, and compares every element. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import type { Attrs, DType } from '../../src/graph/graph.js';
import type { HostArray } from '../../src/runtime/device.js';
import { loadAddon, type TensorSpec } from '../../src/runtime/native/addon.js';

/** An input of a case: its tfjs name, type and data. */
export interface Input extends TensorSpec {
  readonly name: string;
  readonly data: HostArray;
}

export interface Tolerance {
  /** Largest |difference| / |reference|. */
  readonly relative: number;
  /** Largest |difference| whatever the reference. */
  readonly absolute: number;
}

const CLOSE: Tolerance = { relative: 2e-6, absolute: 1e-7 };

export interface Outcome extends TensorSpec {
  readonly data: HostArray;
}

/** The kernel on tfjs's CPU backend. `asList`: the kernel takes an array of tensors (Concat, Pack, AddN). */
export function runReference(kernel: string, inputs: readonly Input[], attrs: object, asList = false): Outcome[] {
  return tf.tidy(() => {
    const tensors = inputs.map((input) => tf.tensor(input.data, [...input.shape], input.dtype));
    const named = asList
      ? tensors
      : Object.fromEntries(inputs.map((input, index) => [input.name, tensors[index] as tf.Tensor]));
    const result = tf.engine().runKernel(kernel, named as tf.NamedTensorMap, attrs as Record<string, number>);
    const list = (Array.isArray(result) ? result : [result]) as tf.Tensor[];
    return list.map((tensor) => ({
      shape: [...tensor.shape],
      dtype: tensor.dtype as DType,
      // A copy: the CPU backend shares buffers between tensors and lets some be of the wrong array type.
      data: asDType(tensor.dataSync(), tensor.dtype as DType),
    }));
  });
}

function asDType(data: ArrayLike<number>, dtype: DType): HostArray {
  if (dtype === 'float32') return Float32Array.from(data);
  return dtype === 'int32' ? Int32Array.from(data) : Uint8Array.from(data);
}

/** The kernel on the native engine; shapes and dtypes of the results are given. */
export function runNative(
  kernel: string,
  inputs: readonly Input[],
  attrs: object,
  outputs: readonly TensorSpec[],
): HostArray[] {
  const spec = {
    kernel,
    inputs: inputs.map(({ shape, dtype }) => ({ shape, dtype })),
    inputNames: inputs.map(({ name }) => name),
    outputs: outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    attrs: attrs as Attrs,
    scope: '',
  };
  return loadAddon().runKernel(
    spec,
    inputs.map(({ data }) => data),
  );
}

/** Asserts that every element agrees; NaN equals NaN, infinities equal themselves. */
export function expectClose(actual: HostArray, expected: HostArray, tolerance: Tolerance, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] as number;
    const e = expected[i] as number;
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const bound = tolerance.absolute + tolerance.relative * Math.abs(e);
    if (!(Math.abs(a - e) <= bound)) throw new Error(`${what}: element ${i} is ${a}, tfjs has ${e}`);
  }
}

/** Both, compared. Integer and bool results must be equal. */
export function expectParity(
  kernel: string,
  inputs: readonly Input[],
  attrs: object = {},
  options: { tolerance?: Tolerance; asList?: boolean } = {},
): void {
  const expected = runReference(kernel, inputs, attrs, options.asList);
  const actual = runNative(kernel, inputs, attrs, expected);
  const what = `${kernel}(${inputs.map(({ name, shape, dtype }) => `${name}: ${dtype}[${shape}]`).join(', ')}) ${JSON.stringify(attrs)}`;
  for (const [index, outcome] of expected.entries()) {
    const tolerance = outcome.dtype === 'float32' ? (options.tolerance ?? CLOSE) : { relative: 0, absolute: 0 };
    expectClose(actual[index] as HostArray, outcome.data, tolerance, what);
  }
}

/** Makes tfjs compute on its plain JavaScript backend. */
export async function useReferenceBackend(): Promise<void> {
  await tf.setBackend('cpu');
  await tf.ready();
}
