/** Tensors to bytes and back, in the arena's representation: float32, int32, and one byte per bool. */
import * as tf from '@tensorflow/tfjs';
import type { DType } from '../../graph/graph.js';
import type { ProgramDType } from '../../plan/plan.js';
import type { HostArray, ParameterArray } from '../device.js';

/** tfjs computes in float32 what a plan keeps in bfloat16, in int32 what it keeps in int8. */
export function tensorDType(dtype: ProgramDType): DType {
  if (dtype === 'bfloat16' || dtype === 'float16') return 'float32';
  return dtype === 'int8' ? 'int32' : dtype;
}

/** Of a tensor. */
export function bytesPerElement(dtype: ProgramDType): number {
  return dtype === 'bool' ? 1 : 4;
}

export function numElements(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}

/** A typed array of `dtype` over a copy of `bytes`. */
export function arrayOf(bytes: Uint8Array, dtype: ProgramDType): HostArray {
  const copy = bytes.slice();
  if (dtype === 'bool') return copy;
  return tensorDType(dtype) === 'int32' ? new Int32Array(copy.buffer) : new Float32Array(copy.buffer);
}

export function viewBytes(data: HostArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Reads a tensor. The array may be the backend's own: copy before changing it. */
export async function readTensor(tensor: tf.Tensor): Promise<HostArray> {
  const data = await tensor.data();
  if (tensor.dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data);
  if (tensor.dtype === 'bool') return data instanceof Uint8Array ? data : Uint8Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

/** Makes a tensor over its own copy of `data`. */
export function makeTensor(data: HostArray | ParameterArray, shape: readonly number[], dtype: ProgramDType): tf.Tensor {
  const copy = data instanceof Int8Array ? Int32Array.from(data) : data.slice();
  return tf.tensor(copy, [...shape], tensorDType(dtype));
}
