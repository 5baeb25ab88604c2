/** Between tf tensors and the arrays the engine works on. */
import * as tf from '@tensorflow/tfjs';
import type { DType } from '../../graph/graph.js';
import type { HostArray } from '../../runtime/device.js';
import { type TensorSpec, toDType } from '../../trace/rules/rule.js';

/** The data of a tensor, in the array type of its dtype. It must not be written to. */
export async function readTensor(tensor: tf.Tensor): Promise<HostArray> {
  const dtype = toDType(tensor.dtype);
  return asDType(await tensor.data(), dtype);
}

/** The data itself where its type fits; tfjs's CPU backend lets some tensors carry another. */
export function asDType(data: ArrayLike<number>, dtype: DType): HostArray {
  if (dtype === 'float32') return data instanceof Float32Array ? data : Float32Array.from(data);
  if (dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(data);
}

export function toTensor(data: HostArray, { shape, dtype }: TensorSpec): tf.Tensor {
  return tf.tensor(data, [...shape], dtype);
}

/** Gives a variable new contents. */
export function writeVariable(variable: tf.Variable, data: HostArray): void {
  tf.tidy(() => {
    variable.assign(toTensor(data, { shape: variable.shape, dtype: toDType(variable.dtype) }));
  });
}
