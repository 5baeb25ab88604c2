/** bfloat16 in JavaScript, and running one kernel of the addon on such data. */
import { loadAddon, type NodeSpec } from '../../../src/runtime/native/addon.js';

export interface Operand {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint16Array | Int32Array;
}
export interface Result {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'bfloat16';
}

const dtypeOf = (data: Operand['data']) =>
  data instanceof Float32Array ? 'float32' : data instanceof Uint16Array ? 'bfloat16' : 'int32';

export function runKernel(
  kernel: string,
  inputs: readonly Operand[],
  outputs: readonly Result[],
  attrs: NodeSpec['attrs'],
): Float32Array[] {
  const spec = {
    kernel,
    scope: '',
    inputs: inputs.map(({ shape, data }) => ({ shape, dtype: dtypeOf(data) })),
    inputNames: inputs.map(({ name }) => name),
    outputs,
    attrs,
  };
  const data = inputs.map((input) => input.data);
  const results = loadAddon().runKernel(spec as NodeSpec, data as never, {}) as unknown as (
    | Float32Array
    | Uint16Array
  )[];
  return results.map((result) => (result instanceof Uint16Array ? fromBf16(result) : result));
}

/** Round to nearest, ties to even. */
export function toBf16(x: Float32Array): Uint16Array {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  return Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}
export const fromBf16 = (x: Uint16Array): Float32Array =>
  new Float32Array(Uint32Array.from(x, (half) => half << 16).buffer);

export const noise = (size: number, seed: number, scale = 1): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(12.9898 * i + seed * 1.7) * scale));
