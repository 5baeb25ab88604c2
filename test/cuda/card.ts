/** Nodes on the stand-in card (test/standin) beside the CPU engine: the kernels' own text, run thread by thread. */
import { expect } from 'vitest';
import type { Attrs } from '../../src/graph/graph.js';
import type { HostArray } from '../../src/runtime/device.js';
import { loadAddon, type NodeSpec, type RunKernelOptions, type TensorSpec } from '../../src/runtime/native/addon.js';
import { standInEnvironment } from '../standin/build.js';

// Before the addon looks for the driver. The stand-in compiler has a cache of its own, which knows when the emulation has changed.
Object.assign(process.env, standInEnvironment(), { MERAK_CUDA_CACHE: 'off' });

/** Of a MerakFused: (x0 + x1) tanh(x0 + x1). */
export const SUM_TIMES_TANH = {
  kernels: ['Add', 'Tanh', 'Multiply'],
  operands: [0, 1, 2, 3, 2],
  counts: [2, 1, 2],
  numbers: [],
  numberCounts: [0, 0, 0],
};

export type Stored = TensorSpec['dtype'] | 'bfloat16' | 'float16';
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: Stored;
  readonly data: HostArray;
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);

/** Repeatable numbers in [0, 1). */
export function drawer(seed: number): () => number {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

const WORD = new DataView(new ArrayBuffer(4));
export function toBf16(x: number): number {
  WORD.setFloat32(0, x);
  const bits = WORD.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
export function fromBf16(bits: number): number {
  WORD.setUint32(0, bits << 16);
  return WORD.getFloat32(0);
}

/** To 11 bits of significand, ties to even; what is below 2^-14 keeps fewer. */
export function toF16(x: number): number {
  const size = Math.abs(x);
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 1e-30)));
  const unit = 2 ** (exponent - 10);
  const low = Math.floor(size / unit);
  const rest = size / unit - low;
  const fraction = rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
  // A fraction of 2048 carries into the exponent by itself.
  return sign | (((exponent + 14) << 10) + fraction);
}
export function fromF16(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 31
      ? fraction
        ? NaN
        : Infinity
      : exponent
        ? (1 + fraction / 1024) * 2 ** (exponent - 15)
        : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

/** Numbers as they are stored. */
export function stored(numbers: ArrayLike<number>, dtype: Stored): HostArray {
  if (dtype === 'float32') return Float32Array.from(numbers);
  if (dtype === 'int32') return Int32Array.from(numbers);
  if (dtype === 'bool') return Uint8Array.from(numbers);
  return Uint16Array.from(numbers, dtype === 'bfloat16' ? toBf16 : toF16) as unknown as HostArray;
}

/** A tensor of normal-ish numbers times `spread`; integers are whole numbers in [0, spread). */
export function tensor(
  shape: readonly number[],
  seed: number,
  dtype: Stored = 'float32',
  spread = dtype === 'int32' ? 9 : 1,
): Tensor {
  const next = drawer(seed);
  const count = sizeOf(shape);
  const normal = () => (next() + next() + next() + next() - 2) * 1.7 * spread;
  const draw =
    dtype === 'int32' ? () => Math.floor(next() * spread) : dtype === 'bool' ? () => (next() < 0.5 ? 1 : 0) : normal;
  return { shape, dtype, data: stored(Array.from({ length: count }, draw), dtype) };
}

export function nodeOf(
  kernel: string,
  inputs: Record<string, Tensor>,
  outputs: readonly { shape: readonly number[]; dtype: Stored }[],
  attrs: Attrs = {},
): NodeSpec {
  const plain = ({ shape, dtype }: { shape: readonly number[]; dtype: Stored }) => ({ shape, dtype }) as TensorSpec;
  return {
    kernel,
    inputs: Object.values(inputs).map(plain),
    inputNames: Object.keys(inputs),
    outputs: outputs.map(plain),
    attrs,
  };
}

export const numbersOf = (data: HostArray, dtype: Stored): number[] =>
  Array.from(data as ArrayLike<number>, (x) =>
    dtype === 'bfloat16' ? fromBf16(x) : dtype === 'float16' ? fromF16(x) : x,
  );

/** ||got - wanted|| / ||wanted||, over finite numbers; others must be equal. */
export function relativeError(got: readonly number[], wanted: readonly number[]): number {
  let difference = 0;
  let size = 0;
  got.forEach((x, i) => {
    const y = wanted[i]!;
    if (!Number.isFinite(y) || !Number.isFinite(x)) {
      if (!Object.is(x, y)) difference = Infinity;
      return;
    }
    difference += (x - y) ** 2;
    size += y ** 2;
  });
  return difference === 0 ? 0 : Math.sqrt(difference / Math.max(size, 1e-30));
}

export interface Comparison {
  readonly tolerance?: number;
  readonly options?: RunKernelOptions;
}

/** The node's outputs on the card, compared with the CPU engine's. */
export function expectAlike(
  kernel: string,
  inputs: Record<string, Tensor>,
  outputs: readonly { shape: readonly number[]; dtype: Stored }[],
  attrs: Attrs = {},
  { tolerance = 1e-5, options }: Comparison = {},
): void {
  const node = nodeOf(kernel, inputs, outputs, attrs);
  const arrays = Object.values(inputs).map(({ data }) => data);
  const addon = loadAddon();
  const wanted = addon.runKernel(node, arrays, options);
  const got = addon.runCudaKernel(node, arrays, options);
  outputs.forEach(({ dtype, shape }, i) => {
    const error = relativeError(numbersOf(got[i]!, dtype), numbersOf(wanted[i]!, dtype));
    expect(error, `${kernel}, output ${i} [${shape}] ${JSON.stringify(attrs)}`).toBeLessThanOrEqual(
      dtype === 'int32' || dtype === 'bool' ? 0 : tolerance,
    );
  });
}
