/** Reading the fields of a batch. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { Batch } from '../trace/model.js';

/** An int32 field of the batch. Raises config/batch when it is absent or of another dtype. */
export function field(model: string, batch: Batch, name: string): tf.Tensor {
  const tensor = optionalField(model, batch, name);
  if (tensor !== undefined) return tensor;
  throw new MerakError('config/batch', `${model} needs the batch field "${name}"`, {
    path: name,
    received: Object.keys(batch).join(', ') || 'no fields',
  });
}

/** An int32 field of the batch, or undefined. Raises config/batch when it is of another dtype. */
export function optionalField(model: string, batch: Batch, name: string): tf.Tensor | undefined {
  const tensor = batch[name];
  if (tensor === undefined || tensor.dtype === 'int32') return tensor;
  throw new MerakError('config/batch', `${model}: the batch field "${name}" has the wrong dtype`, {
    path: name,
    expected: 'int32',
    received: tensor.dtype,
  });
}
