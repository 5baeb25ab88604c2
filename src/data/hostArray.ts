/** Reading tfjs tensors to host arrays of the type their dtype says. */
import type * as tf from '@tensorflow/tfjs';
import type { HostArray } from '../runtime/device.js';

/**
 * The tensor's data. tfjs's cpu backend casts int32 to float32 by relabelling, so the array it returns for a float32
 * tensor may hold integers; here it never does.
 */
export async function hostArrayOf(tensor: tf.Tensor): Promise<HostArray> {
  const data = (await tensor.data()) as HostArray;
  if (tensor.dtype === 'float32') return data instanceof Float32Array ? data : Float32Array.from(data);
  if (tensor.dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Uint8Array ? data : Uint8Array.from(data);
}
