/** Batches from tensors, which are read to the host once. */
import type * as tf from '@tensorflow/tfjs';
import { MerakError } from '../errors.js';
import type { DType } from '../graph/graph.js';
import { type ArrayField, arraySource } from './arrays.js';
import { hostArrayOf } from './hostArray.js';
import type { BatchSource } from './source.js';

export interface TensorSourceOptions {
  /** Default 32; at most the number of samples. */
  readonly batchSize?: number;
  /** Another order in every epoch. Default true. */
  readonly shuffle?: boolean;
  /** Keys the order. Default 0. */
  readonly seed?: number;
}

/**
 * Samples are the rows (dim 0) of all tensors alike; fields are named as the tensors are.
 *
 * @example
 * const source = await merak.data.tensorSource({ pixels, labels }, { batchSize: 64, seed: context.seed });
 * @throws MerakError config/batch: numbers of samples that differ; config/invalid: a dtype that no worker takes
 */
export async function tensorSource(
  tensors: Readonly<Record<string, tf.Tensor>>,
  { batchSize = 32, shuffle = true, seed = 0 }: TensorSourceOptions = {},
): Promise<BatchSource> {
  const { fields, numSamples } = await hostFields(new Map(Object.entries(tensors)));
  return arraySource(fields, { numSamples, batchSize: Math.min(batchSize, numSamples), shuffle, seed });
}

/** Reads tensors to the host; every one must have the same number of samples (dim 0). */
export async function hostFields(
  named: ReadonlyMap<string, tf.Tensor>,
): Promise<{ numSamples: number; fields: ArrayField[] }> {
  const sizes = [...named].map(([name, tensor]) => [name, tensor.shape[0] ?? 0] as const);
  const numSamples = sizes[0]?.[1] ?? 0;
  const odd = sizes.find(([, size]) => size !== numSamples);
  if (odd !== undefined || numSamples === 0) {
    throw new MerakError('config/batch', 'every tensor needs the same, positive number of samples in dim 0', {
      received: sizes.map(([name, size]) => `${name}: ${size}`).join(', '),
    });
  }
  const fields = await Promise.all(
    [...named].map(async ([name, tensor]) => ({
      spec: { name, shape: tensor.shape.slice(1), dtype: hostDType(name, tensor) },
      data: await hostArrayOf(tensor),
    })),
  );
  return { numSamples, fields };
}

function hostDType(name: string, tensor: tf.Tensor): DType {
  const { dtype } = tensor;
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new MerakError('config/invalid', `tensor '${name}' has dtype ${dtype}`, { expected: 'float32, int32 or bool' });
}
